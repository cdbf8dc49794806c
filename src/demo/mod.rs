//! The workshop: the demo application, the image that is made of it, and its project.
//!
//! It needs nothing but an engine: the image is the running program itself, so there is no download and no registry.
//! Not here: loading the image and starting the project (`cli`).

pub mod app;
pub mod image;
pub mod project;
pub mod traffic;

mod break_in;
mod routes;
