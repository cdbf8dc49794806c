//! Compose text -> spec, or diagnostics with file:line:column.
