//! The list of what is wrong with a file, in its order and bounded.

use std::collections::BTreeSet;
use std::fmt;

use super::bind::At;
use crate::spec::{Diagnostic, Place, Severity};

/// The code of a problem with variables; see [`Problems::sorted`].
pub(super) const INTERPOLATION: &str = "interpolation";

/// Most problems of each severity that are kept: nobody reads more, and a hostile file could make millions.
const KEPT_MAX: usize = 500;

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Diagnostic>,
    /// Told only where nothing else is wrong at the same place.
    second: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Problems {
    /// Adds one.
    pub(super) fn push(&mut self, one: Diagnostic) {
        let count = match one.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= KEPT_MAX {
            self.found.push(one);
        }
    }

    /// Adds many.
    pub(super) fn extend(&mut self, many: impl IntoIterator<Item = Diagnostic>) {
        for one in many {
            self.push(one);
        }
    }

    /// Adds those of another list.
    pub(super) fn append(&mut self, other: Self) {
        self.extend(other.found);
    }

    /// Adds those of another list where nothing else turns out to be wrong at the same place: what Compose's schema
    /// says of a value is less than what a phoenix's own rules say.
    pub(super) fn append_second(&mut self, other: Self) {
        self.second.extend(other.found);
        self.second.truncate(2 * KEPT_MAX);
    }

    /// How many errors there are.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// An error at a node.
    pub(super) fn error(
        &mut self,
        at: &At<'_>,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.error_at(&at.node.place, at.path(), code, message, hint);
    }

    /// An error at any place.
    pub(super) fn error_at(
        &mut self,
        place: &Place,
        path: impl fmt::Display,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if self.errors >= KEPT_MAX {
            self.errors += 1;
            return;
        }
        let place = Some(place.clone());
        self.push(Diagnostic::error(code, place, path.to_string(), message).hint(hint));
    }

    /// A warning at a node.
    pub(super) fn warning(
        &mut self,
        at: &At<'_>,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.warning_at(&at.node.place, at.path(), code, message, hint);
    }

    /// A warning at any place.
    pub(super) fn warning_at(
        &mut self,
        place: &Place,
        path: impl fmt::Display,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if self.warnings >= KEPT_MAX {
            self.warnings += 1;
            return;
        }
        let place = Some(place.clone());
        self.push(Diagnostic::warning(code, place, path.to_string(), message).hint(hint));
    }

    /// In the order of the file, each one once: what comes from an anchor that several services use is one problem.
    pub(super) fn sorted(self) -> Vec<Diagnostic> {
        let mut found = self.found;
        let errors = (found.iter()).filter(|one| one.severity == Severity::Error);
        let wrong: BTreeSet<Option<Place>> = errors.map(|one| one.place.clone()).collect();
        let mut second = self.second;
        second.retain(|one| !wrong.contains(&one.place));
        let left = KEPT_MAX.saturating_sub(wrong.len());
        found.extend(second.into_iter().take(left));
        found.sort_by(|a, b| {
            (&a.place, a.severity, &a.message).cmp(&(&b.place, b.severity, &b.message))
        });
        found.dedup_by(|a, b| a.place == b.place && a.code == b.code && a.message == b.message);
        // A value whose variables could not be replaced is wrong in other ways as well; these are no news.
        let raw: BTreeSet<Option<Place>> = (found.iter())
            .filter(|one| one.code == INTERPOLATION)
            .map(|one| one.place.clone())
            .collect();
        found.retain(|one| one.code == INTERPOLATION || !raw.contains(&one.place));
        found
    }
}
