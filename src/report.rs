//! How errors and diagnostics look to people.
