//! Where output goes: data to stdout, everything else to stderr; exit codes are a type.

use std::io::{self, Write};
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exit {
    /// It did what was asked.
    Success,
    /// The user's input is wrong, or a wish could not be met.
    Unmet,
    /// Something that should not happen.
    Unexpected,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::Unmet => Self::from(1),
            Exit::Unexpected => Self::from(2),
        }
    }
}

/// Why a command ended without doing what was asked.
#[derive(Debug)]
pub(super) struct Complaint {
    /// Whose fault.
    pub(super) exit: Exit,
    /// What happened, rendered for people; may have several lines.
    pub(super) text: String,
    /// What to do.
    pub(super) hint: Option<String>,
    /// Whether the text says by itself what is an error and what is a warning.
    is_diagnostics: bool,
}

impl Complaint {
    /// The user's input, or a wish that could not be met.
    pub(super) fn unmet(text: impl Into<String>) -> Self {
        Self {
            exit: Exit::Unmet,
            text: text.into(),
            hint: None,
            is_diagnostics: false,
        }
    }

    /// The same, of which the text is rendered diagnostics.
    pub(super) fn diagnostics(text: impl Into<String>) -> Self {
        Self {
            is_diagnostics: true,
            ..Self::unmet(text)
        }
    }

    /// Something that should not happen.
    pub(super) fn unexpected(text: impl Into<String>) -> Self {
        Self {
            exit: Exit::Unexpected,
            text: text.into(),
            hint: None,
            is_diagnostics: false,
        }
    }

    /// The same with what to do.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The text for stderr: an error, a blank line, a hint.
    pub(super) fn render(&self) -> String {
        let mut text = if self.is_diagnostics {
            self.text.clone()
        } else {
            format!("error: {}", self.text)
        };
        if let Some(hint) = &self.hint {
            text.push_str("\n\nhint: ");
            text.push_str(hint);
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

/// Writes data to stdout. A reader that has gone (`phoenixd events | head`) is no error: there is nothing more to say.
///
/// # Errors
/// Anything else that goes wrong with stdout.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes what is not data to stderr. Nobody can be told when that fails.
pub(super) fn complain(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}
