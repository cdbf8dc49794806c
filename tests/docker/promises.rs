//! The promises of every engine, held against this one.

crate::conformance::promises!(crate::fixture::docker);
