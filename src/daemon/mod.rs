//! Joins them: the loop, the executor, startup, shutdown.
