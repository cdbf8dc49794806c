//! The workshop: the demo application, the image that is made of it, and its project.
//!
//! It needs nothing but an engine: the image is the running program itself, so there is no download and no registry.
//! Not here: loading the image and starting the project (`cli`).

pub mod app;
pub mod project;
pub mod traffic;
pub mod websocket;

mod break_in;
mod routes;

use crate::own_image::Purpose;

/// The port that the application listens on.
pub const PORT: u16 = 8080;

/// The application's image.
pub const IMAGE: Purpose = Purpose {
    name: "phoenixd-demo",
    label: "demo",
    argument: Some("demo-app"),
    port: Some(PORT),
};
