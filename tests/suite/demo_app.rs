//! Tests of demo_app.
