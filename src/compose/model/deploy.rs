//! `deploy`, `develop`, hooks and requests for devices.

use super::shape::{
    Accepts, BOOL, CAST_FLOAT, CAST_INT, CAST_NATURAL, DURATION, List, Object, Others, Pairs,
    Shape, Shown, TEXT, TEXT_OR_NUMBER, TEXT_OR_WHOLE, TEXTS, To, UNIQUE, key, object,
};

pub(super) static DEPLOY: Object = Object::new(&[
    key("mode", TEXT),
    key("replicas", CAST_INT).shown(Shown::Written),
    key("labels", Shape::Pairs(Pairs::Labels)),
    object("update_config", &UPDATE),
    object("rollback_config", &UPDATE),
    key("resources", Shape::Object(&RESOURCES)).shown(Shown::Struct),
    object("restart_policy", &RESTART),
    key("placement", Shape::Object(&PLACEMENT)).shown(Shown::Struct),
    key("endpoint_mode", TEXT),
])
.or_nothing();

static UPDATE: Object = Object::new(&[
    key("parallelism", CAST_NATURAL).shown(Shown::Written),
    key("delay", DURATION),
    key("failure_action", TEXT),
    key("monitor", DURATION),
    key("max_failure_ratio", CAST_FLOAT),
    key("order", Shape::words(&["start-first", "stop-first"])),
]);

static RESOURCES: Object = Object::new(&[
    object("limits", &LIMITS),
    object("reservations", &RESERVATIONS),
]);

const CPUS: Shape = Shape::scalar(TEXT_OR_NUMBER, To::Cpus);
/// Unlike `mem_limit`, never a bare number.
const MEMORY: Shape = Shape::scalar(Accepts::TEXT, To::Bytes);

static LIMITS: Object = Object::new(&[
    key("cpus", CPUS),
    key("memory", MEMORY),
    key("pids", Shape::scalar(TEXT_OR_WHOLE, To::Int)),
]);

static RESERVATIONS: Object = Object::new(&[
    key("cpus", CPUS),
    key("memory", MEMORY),
    key(
        "devices",
        Shape::List(&List {
            item: Shape::Object(&DEVICE),
            unique: false,
        }),
    ),
    key(
        "generic_resources",
        Shape::List(&List {
            item: Shape::Object(&GENERIC),
            unique: false,
        }),
    ),
]);

/// What a request for devices has.
macro_rules! device {
    ($capabilities:expr, $others:expr) => {
        Object {
            fields: &[
                $capabilities,
                key("driver", TEXT),
                key("count", Shape::scalar(TEXT_OR_WHOLE, To::Count)),
                key("device_ids", UNIQUE),
                key("options", Shape::Pairs(Pairs::Labels)),
            ],
            others: $others,
            nullable: false,
        }
    };
}

static DEVICE: Object = device!(key("capabilities", UNIQUE).needed(), Others::Unshown);

/// An item of `gpus`, whose keys the schema leaves open.
pub(super) static GPU: Object = device!(key("capabilities", UNIQUE), Others::Ignored);

static GENERIC: Object = Object::new(&[object("discrete_resource_spec", &DISCRETE)]);

static DISCRETE: Object = Object::new(&[
    key("kind", TEXT).shown(Shown::Always),
    key("value", Shape::scalar(TEXT_OR_NUMBER, To::Int)).shown(Shown::Always),
]);

static RESTART: Object = Object::new(&[
    key("condition", TEXT),
    key("delay", DURATION).shown(Shown::Written),
    key("max_attempts", CAST_NATURAL).shown(Shown::Written),
    key("window", DURATION).shown(Shown::Written),
]);

static PLACEMENT: Object = Object::new(&[
    key("constraints", TEXTS),
    key(
        "preferences",
        Shape::List(&List {
            item: Shape::Object(&PREFERENCE),
            unique: false,
        }),
    ),
    key("max_replicas_per_node", CAST_NATURAL),
]);

static PREFERENCE: Object = Object::new(&[key("spread", TEXT)]);

pub(super) static DEVELOP: Object = Object::new(&[key(
    "watch",
    Shape::List(&List {
        item: Shape::Object(&WATCH),
        unique: false,
    }),
)])
.or_nothing();

static WATCH: Object = Object::new(&[
    key("path", TEXT).needed().shown(Shown::Always),
    key(
        "action",
        Shape::words(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]),
    )
    .needed()
    .shown(Shown::Always),
    key("target", TEXT),
    key("exec", Shape::Object(&HOOK)).shown(Shown::Struct),
    key("include", Shape::Texts),
    key("ignore", Shape::Texts),
    key("initial_sync", Shape::scalar(Accepts::BOOL, To::Bool)),
]);

pub(super) static HOOK: Object = Object::new(&[
    key("command", Shape::Command)
        .needed()
        .shown(Shown::Command),
    key("user", TEXT),
    key("privileged", BOOL),
    key("working_dir", TEXT),
    key("environment", Shape::Pairs(Pairs::Environment)),
]);
