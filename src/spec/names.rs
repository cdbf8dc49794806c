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

/// What a container of a pod is there for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PodPart {
    /// It owns the network namespace: the address, the published ports, the names.
    Pause,
    /// It forwards: it joins the namespace, and is replaced like a replica.
    Edge,
}

impl PodPart {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pause, Self::Edge];

    /// Its name in a service's name, a container's name and a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Edge => "edge",
        }
    }
}

impl ServiceName {
    /// What a part of the service's pod is supervised as: `web/edge`. No service of a file has a `/` in its name.
    #[must_use]
    pub fn pod(&self, part: PodPart) -> Self {
        Self(format!("{}/{}", self.0, part.name()))
    }

    /// Of which service's pod it is which part; `None` for a service of the file.
    pub fn pod_part(&self) -> Option<(Self, PodPart)> {
        let (service, name) = self.0.rsplit_once('/')?;
        let part = PodPart::ALL.into_iter().find(|part| part.name() == name)?;
        Some((Self::new(service), part))
    }

    /// Whether it is a part of a pod: the one.
    pub fn is_pod(&self, part: PodPart) -> bool {
        self.pod_part().is_some_and(|(_, own)| own == part)
    }
}

impl ContainerId {
    /// Digits of an id, a container's or a network's.
    pub const DIGITS: usize = 64;

    /// Whether a text is an id from end to end, which the beginning of one is not.
    pub fn is_whole(text: &[u8]) -> bool {
        text.len() == Self::DIGITS && text.iter().all(u8::is_ascii_hexdigit)
    }

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

/// One replica of a service: `web-3`. Its container is called `project-web-3`. A part of a pod is `web-edge.3`, so that it is
/// nobody else's name: replicas' end in a `-` and digits.
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

    /// What stands in a container's name between the replica's own and the end of the time for which it is broken open.
    pub const BROKEN_OPEN: &str = ".break-glass-";

    /// Which replica of a service a container's name is for, broken open or not; `None` where it is nobody's. Whoever reserves
    /// names asks here, so that names are read as they are made.
    pub fn of_container(project: &ProjectName, service: &ServiceName, name: &str) -> Option<Self> {
        let plain = name.rsplit_once(Self::BROKEN_OPEN);
        let plain = plain.map_or(name, |(plain, _)| plain);
        let before = plain.trim_end_matches(|c: char| c.is_ascii_digit());
        let serial = plain.strip_prefix(before)?.parse().ok()?;
        let replica = Self::new(service.clone(), Serial(serial));
        (replica.container_name(project) == plain).then_some(replica)
    }

    /// The container's name on the engine. It derives from project, service and serial alone, so that a repeated
    /// create meets the first one's container and not a second name (invariant I7).
    pub fn container_name(&self, project: &ProjectName) -> String {
        format!("{project}-{self}")
    }
}

impl fmt::Display for ReplicaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.service.pod_part() {
            None => f.pad(&format!("{}-{}", self.service, self.serial)),
            Some((service, part)) => f.pad(&format!("{service}-{}.{}", part.name(), self.serial)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PodPart, ProjectName, ReplicaName, Serial, ServiceName};

    #[test]
    fn the_name_of_every_container_leads_back_to_its_replica_and_no_other_name_does() {
        let (project, web) = (ProjectName::new("shop"), ServiceName::new("web"));
        let services = [
            web.clone(),
            web.pod(PodPart::Pause),
            web.pod(PodPart::Edge),
            ServiceName::new("web-1"),
            ServiceName::new("2"),
        ];
        for service in &services {
            for serial in [0, 1, 7, 47, u64::MAX] {
                let replica = ReplicaName::new(service.clone(), Serial(serial));
                let name = replica.container_name(&project);
                let open = format!("{name}{}1234", ReplicaName::BROKEN_OPEN);
                for name in [name, open] {
                    let read = services
                        .iter()
                        .filter_map(|one| ReplicaName::of_container(&project, one, &name));
                    assert_eq!(
                        read.collect::<Vec<_>>(),
                        std::slice::from_ref(&replica),
                        "{name}"
                    );
                }
            }
        }
        for name in [
            "shop-web",
            "shop-web-",
            "shop-web-x",
            "shop-web-07",
            "web-7",
            "shop-webs-7",
            "x-shop-web-7",
            "shop-web-7x",
            "7",
            "",
        ] {
            assert_eq!(
                ReplicaName::of_container(&project, &web, name),
                None,
                "{name}"
            );
        }
    }
}
