//! `build` of a service.

use super::service::ULIMITS_OF_BUILD;
use super::shape::{BOOL, Object, Pairs, Shape, TEXT, TEXT_OR_BOOL, TEXTS, To, WHOLE_BYTES, key};
use super::top::MOUNTS;

/// Whatever it is, as a text: `true` is `"true"`.
const PRINTED: Shape = Shape::scalar(TEXT_OR_BOOL, To::Printed);

pub(super) static BUILD: Object = Object::new(&[
    key("context", TEXT),
    key("dockerfile", TEXT),
    key("dockerfile_inline", TEXT),
    key("entitlements", TEXTS),
    key("args", Shape::Pairs(Pairs::Environment)),
    key("provenance", PRINTED),
    key("sbom", PRINTED),
    key("ssh", Shape::Pairs(Pairs::Ssh)),
    key("labels", Shape::Pairs(Pairs::Labels)),
    key("cache_from", TEXTS),
    key("cache_to", TEXTS),
    key("no_cache", BOOL),
    key("additional_contexts", Shape::Pairs(Pairs::Contexts)),
    key("pull", BOOL),
    key("extra_hosts", Shape::Pairs(Pairs::Hosts)),
    key("isolation", TEXT),
    key("network", TEXT),
    key("target", TEXT),
    key("secrets", MOUNTS),
    key("shm_size", WHOLE_BYTES),
    key("tags", TEXTS),
    key("ulimits", Shape::Dict(&ULIMITS_OF_BUILD)),
    key("platforms", TEXTS),
    key("privileged", BOOL),
]);
