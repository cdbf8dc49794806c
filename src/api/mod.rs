//! HTTP on a unix socket: status, commands.
