//! The top level, and what is declared there: networks, volumes, secrets, configs, models.

use super::service::SERVICE;
use super::shape::{
    Accepts, CAST_BOOL, Dict, Field, Keys, List, Object, Pairs, Shape, Shown, TEXT, TEXT_OR_NUMBER,
    TEXTS, To, key,
};

/// What is declared at the top level, by the name of one of it, with its keys.
pub(super) fn top_level() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    [
        ("network", &NETWORK),
        ("volume", &VOLUME),
        ("secret", &SECRET),
        ("config", &CONFIG),
    ]
    .into_iter()
    .map(|(name, object)| (name, object.keys()))
}

/// Names of the user's, with a mapping each.
macro_rules! named {
    ($shape:expr, nullable: $nullable:expr) => {
        Shape::Dict(&Dict {
            keys: Keys::Name,
            value: $shape,
            nullable: $nullable,
        })
    };
}

/// A whole file. `name`, `version` and `include` have done their work before anything is printed; the name of the project
/// comes back by the loader.
pub(super) static ROOT: Object = Object::new(&[
    key("name", TEXT),
    key("services", named!(Shape::Object(&SERVICE), nullable: false)).shown(Shown::Always),
    key("networks", named!(Shape::Object(&NETWORK), nullable: true)),
    key("volumes", named!(Shape::Object(&VOLUME), nullable: true)),
    key("secrets", named!(Shape::Object(&SECRET), nullable: false)),
    key("configs", named!(Shape::Object(&CONFIG), nullable: false)),
    key("models", named!(Shape::Object(&MODEL), nullable: false)).shown(Shown::YamlOnly),
    key(
        "include",
        Shape::List(&List {
            item: Shape::Either(&TEXT, &Shape::Object(&INCLUDE)),
            unique: false,
        }),
    )
    .shown(Shown::Never),
    key("version", TEXT).shown(Shown::Never),
]);

static INCLUDE: Object = Object::closed(&[
    key("path", Shape::Texts),
    key("env_file", Shape::Texts),
    key("project_directory", TEXT),
]);

static NETWORK: Object = Object::new(&[
    key("name", TEXT),
    key("driver", TEXT),
    key("driver_opts", Shape::Pairs(Pairs::Options)),
    key("ipam", Shape::Object(&IPAM)).shown(Shown::Struct),
    key("external", Shape::External { closed: true }),
    key("internal", CAST_BOOL),
    key("attachable", CAST_BOOL),
    key("labels", Shape::Pairs(Pairs::Labels)),
    key("enable_ipv4", CAST_BOOL).shown(Shown::Written),
    key("enable_ipv6", CAST_BOOL).shown(Shown::Written),
])
.or_nothing();

static IPAM: Object = Object::new(&[
    key("driver", TEXT),
    key(
        "config",
        Shape::List(&List {
            item: Shape::Object(&POOL),
            unique: false,
        }),
    ),
    // Go's type has no such field.
    key("options", Shape::Pairs(Pairs::OptionTexts)).shown(Shown::Never),
]);

static POOL: Object = Object::new(&[
    key("subnet", TEXT),
    key("gateway", TEXT),
    key("ip_range", TEXT),
    key("aux_addresses", Shape::Pairs(Pairs::OptionTexts)),
]);

static VOLUME: Object = Object::new(&[
    key("name", TEXT),
    key("driver", TEXT),
    key("driver_opts", Shape::Pairs(Pairs::Options)),
    key("external", Shape::External { closed: true }),
    key("labels", Shape::Pairs(Pairs::Labels)),
])
.or_nothing();

static SECRET: Object = Object::new(&[
    key("name", TEXT),
    key("file", TEXT),
    key("environment", TEXT),
    key("external", Shape::External { closed: false }),
    key("labels", Shape::Pairs(Pairs::Labels)),
    key("driver", TEXT),
    key("driver_opts", Shape::Pairs(Pairs::WholeOptions)),
    key("template_driver", TEXT),
]);

static CONFIG: Object = Object::new(&[
    key("name", TEXT),
    key("file", TEXT),
    key("environment", TEXT),
    key("content", TEXT),
    key("external", Shape::External { closed: false }),
    key("labels", Shape::Pairs(Pairs::Labels)),
    key("template_driver", TEXT),
]);

static MODEL: Object = Object::new(&[
    key("name", TEXT),
    key("model", TEXT).needed(),
    key("context_size", Shape::scalar(Accepts::WHOLE, To::Int)),
    key("runtime_flags", TEXTS),
]);

/// `secrets` and `configs` of a service.
pub(super) const MOUNTS: Shape = Shape::List(&List {
    item: Shape::Either(&TEXT, &Shape::Object(&MOUNT)),
    unique: false,
});

static MOUNT: Object = Object::new(MOUNT_FIELDS);

const MOUNT_FIELDS: &[Field] = &[
    // The schema does not ask for it; without one it refers to nothing.
    key("source", TEXT).needed(),
    key("target", TEXT),
    key("uid", TEXT),
    key("gid", TEXT),
    key("mode", Shape::scalar(TEXT_OR_NUMBER, To::Mode)).shown(Shown::Written),
];
