//! Decides: events in, actions and views out.
