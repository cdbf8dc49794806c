//! JSON as an answer: whoever prints it on a terminal as it comes (`curl`) gets nothing that controls one.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::report::escape_json;

/// This, as JSON in which control and direction characters are escapes.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_string(&self.0) {
            Ok(json) => {
                let json = escape_json(&json).into_owned();
                ([(CONTENT_TYPE, "application/json")], json).into_response()
            }
            Err(error) => {
                let text = error.to_string();
                (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
            }
        }
    }
}
