//! What the table of the Compose model is made of: the shape of a value, and when a key of it is printed.
//!
//! One shape says three things at once, so that they cannot drift apart: what a file may write (`check`), which Go type
//! docker compose keeps it in (`scalar`), and how `config` prints it (`print`). Sources: compose-go 2.9.1,
//! `schema/compose-spec.json`, `types/*.go`, `loader/interpolate.go`. Not here: the table itself (`service`, `build`,
//! `deploy`, `top`).

/// What a value may be, and what becomes of it.
#[derive(Debug)]
pub(in crate::compose) enum Shape {
    /// A single value.
    Scalar(Scalar),
    /// A mapping with known keys.
    Object(&'static Object),
    /// A mapping with keys of the user's.
    Dict(&'static Dict),
    /// A list of one shape.
    List(&'static List),
    /// Names and values, as a mapping or as a list of `NAME=value`.
    Pairs(Pairs),
    /// A text, or a list of texts; always a list afterwards.
    Texts,
    /// A list of texts, whole numbers or both, each of them once; texts afterwards.
    Numbers,
    /// A command: nothing, a text that is split into words, or a list.
    Command,
    /// The test of a health check: a text for a shell, or a list.
    HealthTest,
    /// A short form, and the long one that the loader makes of it: a text, or a list of names in place of a mapping.
    Either(&'static Shape, &'static Shape),
    /// A limit of `ulimits`; whether a text is cast to a number.
    Ulimit {
        /// Not under `build`.
        cast: bool,
    },
    /// The mapping of a resource that somebody else makes: a truth value, or (long obsolete) `{ name: … }`.
    External {
        /// Whether the mapping has no other key: of networks and volumes.
        closed: bool,
    },
}

/// A single value.
#[derive(Clone, Copy, Debug)]
pub(in crate::compose) struct Scalar {
    /// What YAML may take it for.
    pub(super) accepts: Accepts,
    /// What it becomes.
    pub(super) to: To,
    /// Whether a text is turned into that type before anything else, as after the replacement of variables.
    pub(super) cast: bool,
    /// Which numbers are allowed.
    pub(super) range: Option<(i128, i128)>,
    /// Which words are allowed; all when there is none.
    pub(super) words: &'static [&'static str],
    /// What else must hold for a text.
    pub(super) rule: Option<Rule>,
}

/// What must hold for a text.
#[derive(Clone, Copy, Debug)]
pub(in crate::compose) struct Rule {
    /// Whether it does.
    pub(super) holds: fn(&str) -> bool,
    /// What to write instead.
    pub(super) hint: &'static str,
}

/// Which types of YAML's a value may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::compose) struct Accepts(u8);

impl Accepts {
    pub(super) const TEXT: Self = Self(1);
    /// A whole number, also one that is written with a point: `2.0`.
    pub(super) const WHOLE: Self = Self(2);
    pub(super) const NUMBER: Self = Self(2 | 4);
    pub(super) const BOOL: Self = Self(8);
    pub(super) const NULL: Self = Self(16);

    /// Either.
    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of the other are allowed here.
    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The Go type that docker compose keeps a value in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::compose) enum To {
    /// `string`
    Text,
    /// `string`, of whatever it is.
    Printed,
    /// `bool`
    Bool,
    /// `int`, `int64`: a fraction is cut.
    Int,
    /// `int`, where Go's own code allows no fraction.
    Whole,
    /// `uint16`, `uint32`, `uint64`
    Natural,
    /// `float32`
    Float,
    /// `UnitBytes`: printed as a text of digits.
    Bytes,
    /// `Duration`: printed as `1m30s`.
    Duration,
    /// `NanoCPUs`
    Cpus,
    /// `DeviceCount`: a number, or `all`, which is -1.
    Count,
    /// `FileMode`: octal.
    Mode,
}

/// A mapping with known keys.
#[derive(Debug)]
pub(in crate::compose) struct Object {
    /// Its keys, in the order in which they are printed.
    pub(super) fields: &'static [Field],
    /// What to do with others.
    pub(super) others: Others,
    /// Whether nothing at all (`key:`) is the same as an empty mapping.
    pub(super) nullable: bool,
}

/// What a mapping has besides its known keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::compose) enum Others {
    /// `x-…` only, which YAML shows.
    Extensions,
    /// `x-…` only, which nothing shows: Go's type has no place for them.
    Unshown,
    /// Nothing.
    None,
    /// Anything, which nobody reads.
    Ignored,
}

/// A key of a mapping.
#[derive(Debug)]
pub(in crate::compose) struct Field {
    /// Its name.
    pub(super) key: &'static str,
    /// What it may be.
    pub(super) shape: Shape,
    /// Whether it must be there.
    pub(super) needed: bool,
    /// When it is printed.
    pub(super) shown: Shown,
}

/// When a key is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::compose) enum Shown {
    /// When it is not empty: Go's `omitempty` of a value.
    NotEmpty,
    /// When it is written: Go's `omitempty` of a pointer.
    Written,
    /// Always.
    Always,
    /// Always in JSON, in YAML when it is not empty: what Go makes of a struct.
    Struct,
    /// Always in JSON, in YAML when it is written: a command.
    Command,
    /// In YAML only, and there when it is not empty.
    YamlOnly,
    /// Always, in JSON under its name with a capital letter: a Go field without a tag.
    Untagged,
    /// Never: it has done its work, or Go's type has no such field.
    Never,
}

/// A mapping with keys of the user's.
#[derive(Debug)]
pub(in crate::compose) struct Dict {
    /// What a key may be.
    pub(super) keys: Keys,
    /// What a value may be.
    pub(super) value: Shape,
    /// Whether a key may have nothing as its value.
    pub(super) nullable: bool,
}

/// What the keys of a user may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::compose) enum Keys {
    /// `^[a-zA-Z0-9._-]+$`
    Name,
    /// Anything.
    Any,
}

/// A list.
#[derive(Debug)]
pub(in crate::compose) struct List {
    /// What an item may be.
    pub(super) item: Shape,
    /// Whether nothing may stand in it twice.
    pub(super) unique: bool,
}

/// Names and values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::compose) enum Pairs {
    /// `MappingWithEquals`: a name without a value stays one.
    Environment,
    /// `Labels` and `Mapping`: a name without a value has an empty one.
    Labels,
    /// The same, of which compose-go makes a mapping before anything else: `build.additional_contexts`.
    Contexts,
    /// The same, but only as a mapping of texts and numbers: the options of drivers.
    Options,
    /// The same, of which nothing at all is allowed as a value: `logging.options`.
    OptionsOrNothing,
    /// The same, of which a number with a fraction is none: `driver_opts` of secrets.
    WholeOptions,
    /// The same, of texts only: `ipam.config.aux_addresses`.
    OptionTexts,
    /// The same, of anything: `storage_opt`.
    OptionsOfAny,
    /// A value may be a list: `provider.options`.
    Repeated,
    /// `HOST=address`, `HOST:address`, or a mapping to one or several addresses.
    Hosts,
    /// `ID=path`, or a mapping.
    Ssh,
}

impl Scalar {
    /// Any value of those types.
    pub(super) const fn new(accepts: Accepts, to: To) -> Self {
        Self {
            accepts,
            to,
            cast: false,
            range: None,
            words: &[],
            rule: None,
        }
    }
}

impl Shape {
    /// A single value.
    pub(super) const fn scalar(accepts: Accepts, to: To) -> Self {
        Self::Scalar(Scalar::new(accepts, to))
    }

    /// The same, whose texts are cast.
    pub(super) const fn cast(accepts: Accepts, to: To) -> Self {
        Self::Scalar(Scalar {
            cast: true,
            ..Scalar::new(accepts, to)
        })
    }

    /// The same, with bounds for numbers.
    pub(super) const fn between(min: i128, max: i128, to: To) -> Self {
        Self::Scalar(Scalar {
            cast: true,
            range: Some((min, max)),
            ..Scalar::new(TEXT_OR_WHOLE, to)
        })
    }

    /// A text for which something must hold.
    pub(super) const fn text(rule: Rule) -> Self {
        Self::Scalar(Scalar {
            rule: Some(rule),
            ..Scalar::new(Accepts::TEXT, To::Text)
        })
    }

    /// One of a few words.
    pub(super) const fn words(words: &'static [&'static str]) -> Self {
        Self::Scalar(Scalar {
            words,
            ..Scalar::new(Accepts::TEXT, To::Text)
        })
    }
}

pub(super) const TEXT_OR_WHOLE: Accepts = Accepts::TEXT.or(Accepts::WHOLE);
pub(super) const TEXT_OR_NUMBER: Accepts = Accepts::TEXT.or(Accepts::NUMBER);
pub(super) const TEXT_OR_BOOL: Accepts = Accepts::TEXT.or(Accepts::BOOL);

pub(super) const TEXT: Shape = Shape::scalar(Accepts::TEXT, To::Text);
/// `true`, or a text that says so.
pub(super) const BOOL: Shape = Shape::scalar(TEXT_OR_BOOL, To::Bool);
/// The same, where compose-go casts it after replacing variables.
pub(super) const CAST_BOOL: Shape = Shape::cast(TEXT_OR_BOOL, To::Bool);
pub(super) const CAST_INT: Shape = Shape::cast(TEXT_OR_WHOLE, To::Int);
/// An integer where the schema says number: `1.5` is cut.
pub(super) const CAST_NUMBER: Shape = Shape::cast(TEXT_OR_NUMBER, To::Int);
pub(super) const CAST_NATURAL: Shape = Shape::cast(TEXT_OR_WHOLE, To::Natural);
pub(super) const CAST_FLOAT: Shape = Shape::cast(TEXT_OR_NUMBER, To::Float);
pub(super) const DURATION: Shape = Shape::scalar(Accepts::TEXT, To::Duration);
pub(super) const BYTES: Shape = Shape::scalar(TEXT_OR_NUMBER, To::Bytes);
pub(super) const WHOLE_BYTES: Shape = Shape::scalar(TEXT_OR_WHOLE, To::Bytes);

/// A list of texts.
pub(super) const TEXTS: Shape = Shape::List(&List {
    item: TEXT,
    unique: false,
});
/// A list of texts, each of them once.
pub(super) const UNIQUE: Shape = Shape::List(&List {
    item: TEXT,
    unique: true,
});

/// A mapping with known keys, which Go keeps by a pointer: printed when it is written.
pub(super) const fn object(key: &'static str, object: &'static Object) -> Field {
    Field {
        key,
        shape: Shape::Object(object),
        needed: false,
        shown: Shown::Written,
    }
}

/// A key that is printed when it is not empty.
pub(super) const fn key(key: &'static str, shape: Shape) -> Field {
    Field {
        key,
        shape,
        needed: false,
        shown: Shown::NotEmpty,
    }
}

impl Field {
    /// A key that must be there.
    pub(super) const fn needed(mut self) -> Self {
        self.needed = true;
        self
    }

    /// A key that is printed at other times.
    pub(super) const fn shown(mut self, shown: Shown) -> Self {
        self.shown = shown;
        self
    }
}

impl Object {
    /// A mapping that may have extensions.
    pub(super) const fn new(fields: &'static [Field]) -> Self {
        Self {
            fields,
            others: Others::Extensions,
            nullable: false,
        }
    }

    /// A mapping without any other key.
    pub(super) const fn closed(fields: &'static [Field]) -> Self {
        Self {
            fields,
            others: Others::None,
            nullable: false,
        }
    }

    /// The same, which may be nothing.
    pub(super) const fn or_nothing(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// The names of its keys.
    pub(in crate::compose) fn keys(&self) -> Vec<&'static str> {
        self.fields.iter().map(|field| field.key).collect()
    }

    /// One of its keys.
    pub(super) fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.key == key)
    }
}
