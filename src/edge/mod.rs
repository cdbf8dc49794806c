//! The data plane: listeners, route table, forwarding, draining.
