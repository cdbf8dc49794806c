//! What can be wrong with a file before its keys have a meaning: size, encoding, syntax, structure.

use std::path::PathBuf;
use std::sync::Arc;

use serde_saphyr::granit_parser::{ErrorKind, ScanError};

use super::yaml::{DEPTH_MAX, FILE_BYTES_MAX, KEY_BYTES_MAX, NODES_MAX, TEXT_BYTES_MAX};
use crate::spec::{Diagnostic, Place};

/// The text of a file, without a byte-order mark; refused before parsing when it is too large or not UTF-8.
pub(super) fn text_of<'b>(file: &Arc<PathBuf>, bytes: &'b [u8]) -> Result<&'b str, Diagnostic> {
    if bytes.len() > FILE_BYTES_MAX {
        let message =
            format!("the file is too large: it has more than {FILE_BYTES_MAX} bytes (1 MiB)");
        return Err(
            Diagnostic::error("too-large", Some(Place::file(&**file)), "", message)
                .hint("is this the file that you mean?"),
        );
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default())
            .chars()
            .count();
        let hint = match bytes {
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => "it looks like UTF-16; save it as UTF-8",
            _ => "save it as UTF-8",
        };
        Diagnostic::error(
            "not-utf8",
            Some(place(file, line, column)),
            "",
            "the file is not UTF-8 text",
        )
        .hint(hint)
    })
}

/// A place from the parser's line (from 1) and column (from 0).
pub(super) fn place(file: &Arc<PathBuf>, line: usize, column: usize) -> Place {
    Place {
        file: Arc::clone(file),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column.saturating_add(1)).unwrap_or(u32::MAX),
    }
}

pub(super) fn recursive_anchor(place: Place, path: String) -> Diagnostic {
    Diagnostic::error(
        "syntax",
        Some(place),
        path,
        "this alias stands inside the anchor that it names",
    )
    .hint("an anchor can be used only after its end")
}

pub(super) fn too_deep(place: Place, path: String) -> Diagnostic {
    Diagnostic::error(
        "too-large",
        Some(place),
        path,
        format!("nested deeper than {DEPTH_MAX} levels"),
    )
    .hint("a Compose file needs eight or so; is this the file that you mean?")
}

pub(super) fn too_much(place: Place, path: String) -> Diagnostic {
    Diagnostic::error(
        "too-large",
        Some(place),
        path,
        format!(
            "more than {NODES_MAX} values or {TEXT_BYTES_MAX} bytes of text, with aliases written out"
        ),
    )
    .hint("use fewer aliases of aliases, or split the file")
}

pub(super) fn key_too_long(place: Place) -> Diagnostic {
    Diagnostic::error(
        "too-large",
        Some(place),
        "",
        format!("a key is longer than {KEY_BYTES_MAX} bytes"),
    )
    .hint("is this the file that you mean?")
}

pub(super) fn merge_of_no_mapping(place: Place, path: String) -> Diagnostic {
    Diagnostic::error(
        "wrong-type",
        Some(place),
        path,
        "`<<` merges mappings, and this is none",
    )
    .hint("write `<<: *anchor` or `<<: [*one, *two]`, where each anchor is a mapping")
}

pub(super) fn key_is_no_text(place: Place, kind: &str) -> Diagnostic {
    Diagnostic::error(
        "wrong-type",
        Some(place),
        "",
        format!("a key must be text, not {kind}"),
    )
    .hint("quote it, or remove the `?`")
}

pub(super) fn duplicate(place: Place, key: &str, first: &Place) -> Diagnostic {
    Diagnostic::error(
        "duplicate-key",
        Some(place),
        key,
        format!("`{key}` stands here twice"),
    )
    .hint(format!(
        "the first one is at line {}; keep one of them",
        first.line
    ))
}

/// An error of the parser, with the remedy where the error tells what the mistake was.
pub(super) fn syntax(place: Place, path: String, error: &ScanError) -> Diagnostic {
    use ErrorKind as K;
    let kind = error.kind();
    if *kind == K::RecursionLimitExceeded {
        return too_deep(place, path);
    }
    let hint = if matches!(
        kind,
        K::TabNotAllowed
            | K::TabInBlockIndentation
            | K::TabInIndentation
            | K::TabAtBlockScalarStart
            | K::TabInPlainScalar
    ) {
        "YAML indents with spaces, never with tabs"
    } else if matches!(kind, K::MappingValueNotAllowed | K::MappingKeyNotAllowed) {
        "quote text that contains `: `, and check the indentation"
    } else if matches!(kind, K::InvalidColonPlacement) {
        "close the bracket that is open above, or quote text that contains `: `"
    } else if matches!(
        kind,
        K::UnclosedQuotedScalar
            | K::InvalidTrailingDoubleQuotedScalar
            | K::InvalidTrailingSingleQuotedScalar
    ) {
        "close the quote; a quote inside of quotes is written `\\\"` or `''`"
    } else if matches!(
        kind,
        K::UnclosedFlowCollection { .. }
            | K::ExpectedFlowMappingSeparator
            | K::ExpectedFlowSequenceSeparator
            | K::UnexpectedEofFlowMapping
            | K::UnexpectedEofFlowSequence
            | K::UnexpectedEofImplicitFlowMapping
            | K::MismatchedFlowCollectionEnd { .. }
    ) {
        "close the bracket, and put commas between its parts"
    } else if matches!(kind, K::UnknownAnchor) {
        "define the anchor (`&name`) above its first use; quote text that begins with `*`"
    } else if matches!(
        kind,
        K::UnexpectedCharacter { .. } | K::UnknownQuotedScalarEscape
    ) {
        "quote text that begins with a special character; in double quotes write `\\\\` for `\\`"
    } else {
        "check the indentation, and quote text with special characters"
    };
    let message = if *kind == K::UnknownAnchor {
        "not valid YAML: unknown anchor".to_owned()
    } else if let K::UnexpectedCharacter { character } = kind {
        format!(
            "not valid YAML: unexpected character `{}`",
            character.escape_default()
        )
    } else {
        format!("not valid YAML: {}", error.info())
    };
    Diagnostic::error("syntax", Some(place), path, message).hint(hint)
}
