//! The workshop: the demo application and its project.
