//! What the kernel of the engine's host says about a process.
