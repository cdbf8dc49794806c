//! The only module that knows bollard.
