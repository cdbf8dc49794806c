//! The system's clocks, and nothing else reads them.
