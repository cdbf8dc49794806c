//! What is wrong with the user's input, and where. Plain data: `report` renders it for people.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where something stands: `file:line:column`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The file as the user named it.
    pub file: Arc<PathBuf>,
    /// Line, from 1; 0 where the whole file is meant.
    pub line: u32,
    /// Column in characters, from 1; 0 where the whole file is meant.
    pub column: u32,
}

impl Place {
    /// A place that means the whole file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            file: Arc::new(path.into()),
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}", self.file.display())
        } else {
            write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
        }
    }
}

/// Whether a diagnostic stops the command.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// The command stops before anything is changed.
    Error,
    /// The command goes on; the user is told.
    Warning,
}

/// One problem with the user's input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Whether it stops the command.
    pub severity: Severity,
    /// A stable name for programs: `unknown-key`, `port-conflict`.
    pub code: &'static str,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// Where; `None` only for what stands in no file.
    pub place: Option<Place>,
    /// The path of keys: `services.web.healthcheck.interval`; empty where there is none.
    pub path: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error without a hint; see [`Diagnostic::hint`].
    pub fn error(
        code: &'static str,
        place: Option<Place>,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            place,
            path: path.into(),
            hint: None,
        }
    }

    /// A warning without a hint; see [`Diagnostic::hint`].
    pub fn warning(
        code: &'static str,
        place: Option<Place>,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, place, path, message)
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether it stops the command.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Whether any of them stops the command.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}
