//! Newtypes for every name and id, so that one cannot be passed for another.

use std::fmt;

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is; whoever has it from a user has validated it.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

text_newtype!(
    /// A Compose project's name: `[a-z0-9][a-z0-9_-]*`.
    ProjectName
);
text_newtype!(
    /// A Compose service's name: `[a-zA-Z0-9._-]+`.
    ServiceName
);
text_newtype!(
    /// A container's id: 64 hexadecimal digits, as the engine gives it.
    ContainerId
);
text_newtype!(
    /// An image's id: `sha256:` and 64 hexadecimal digits.
    ImageId
);
text_newtype!(
    /// An image as a person names it: `name[:tag][@digest]`.
    ImageRef
);
text_newtype!(
    /// A network's name on the engine (`project_default`, not `default`).
    NetworkName
);
text_newtype!(
    /// A volume's name on the engine (`project_data`, not `data`).
    VolumeName
);
text_newtype!(
    /// The hash of everything that a replica is born from: the resolved definition and the image's id. Opaque:
    /// equal hashes mean "the same birth", nothing else can be read from it.
    SpecHash
);
text_newtype!(
    /// The keyed digest of a secret or config with its mode and owner: 32 hexadecimal digits, the name of its copy on
    /// the host. Equal digests of one project mean the same file; without the project's key nothing can be tried out.
    FileDigest
);

impl FileDigest {
    /// Hexadecimal digits of a digest.
    pub const DIGITS: usize = 32;
    /// Hexadecimal digits of the name of an engine's directory.
    pub const ENGINE_DIGITS: usize = 12;

    /// The digest in the path of a copy, `…/files/ENGINE/DIGEST`; `None` for every other path.
    pub fn in_path(path: &str) -> Option<Self> {
        let is_hex = |part: &str, digits: usize| {
            part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let mut parts = path.rsplit('/');
        let (digest, engine, files) = (parts.next()?, parts.next()?, parts.next()?);
        (is_hex(digest, Self::DIGITS) && is_hex(engine, Self::ENGINE_DIGITS) && files == "files")
            .then(|| Self::new(digest))
    }
}

impl ProjectName {
    /// What a name may be, for messages.
    pub const RULE: &str = "begin with a lower-case letter or digit; these, `_` and `-` may follow";

    /// Whether the text is a name (Compose Specification, `name`). It becomes a directory's name and a part of names
    /// on the engine: nothing else must pass.
    pub fn is_valid(text: &str) -> bool {
        let is_first = |c: char| matches!(c, 'a'..='z' | '0'..='9');
        text.starts_with(is_first) && text.chars().all(|c| is_first(c) || matches!(c, '_' | '-'))
    }
}

impl ContainerId {
    /// The first twelve digits, as `docker ps` shows them.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// A replica's number within its service: 1, 2, 3 … never given twice while a container of the service exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Serial(pub u64);

impl Serial {
    /// What docker compose made, before phoenixd: never given to a replica.
    pub const ORIGINAL: Self = Self(0);

    /// The next number.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A revision of a service's definition: 1, 2, 3 … A change of the spec hash begins the next one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Generation(pub u64);

impl Generation {
    /// The next revision.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One replica of a service: `web-3`. Its container is called `project-web-3`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplicaName {
    /// The service it belongs to.
    pub service: ServiceName,
    /// Its number within the service.
    pub serial: Serial,
}

impl ReplicaName {
    /// Joins the two.
    pub fn new(service: ServiceName, serial: Serial) -> Self {
        Self { service, serial }
    }

    /// Whether it is the container that docker compose made, and not a replica (`phoenixd adopt`).
    pub fn is_original(&self) -> bool {
        self.serial == Serial::ORIGINAL
    }

    /// The container's name on the engine. It derives from project, service and serial alone, so that a repeated
    /// create meets the first one's container and not a second name (invariant I7).
    pub fn container_name(&self, project: &ProjectName) -> String {
        format!("{project}-{}-{}", self.service, self.serial)
    }
}

impl fmt::Display for ReplicaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.service, self.serial))
    }
}
