//! The daemon's own settings: flags, environment, defaults.
