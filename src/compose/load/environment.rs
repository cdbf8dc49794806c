//! `.env` and `--env-file`: variables below those of the caller.
//!
//! As compose-go 2.9.1 has it (`dotenv.GetEnvFromFile`): a later file wins over an earlier one, and what the caller has
//! set wins over both. Not here: which files (`cli`), and those of a service (`super::variables`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::compose::dotenv;
use crate::spec::{Diagnostic, Place};

/// A file of variables.
#[derive(Clone, Debug)]
pub struct DotenvFile {
    /// As the user named it.
    pub path: PathBuf,
    /// What is in it.
    pub text: Vec<u8>,
}

/// Adds the variables of the files, in their order, to those that there are. What is wrong with a file goes to `found`;
/// the variables of a file with an error are left out.
pub fn add_dotenv(
    environment: &mut BTreeMap<String, String>,
    files: &[DotenvFile],
    found: &mut dyn FnMut(Diagnostic),
) {
    let mut added: BTreeMap<String, String> = BTreeMap::new();
    for file in files {
        let place = |line: usize| Place {
            file: Arc::new(file.path.clone()),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: 1,
        };
        let bytes = file
            .text
            .strip_prefix(b"\xEF\xBB\xBF")
            .unwrap_or(&file.text);
        let Ok(text) = std::str::from_utf8(bytes) else {
            let message = "the file is not UTF-8 text";
            let problem = Diagnostic::error("env-file", Some(place(1)), "", message);
            found(problem.hint("save it as UTF-8"));
            continue;
        };
        let lookup = |name: &str| environment.get(name).or_else(|| added.get(name)).cloned();
        match dotenv::parse(text, &lookup) {
            Ok(read) => {
                for (name, line) in read.unset {
                    let message =
                        format!("the variable `{name}` is not set; an empty text takes its place");
                    let problem =
                        Diagnostic::warning("unset-variable", Some(place(line)), "", message);
                    found(problem.hint(
                        "set it in the environment, or put the value in single quotes to take `$` literally",
                    ));
                }
                added.extend(read.variables);
            }
            Err(problem) => {
                let place = Some(place(problem.line));
                let error = Diagnostic::error("env-file", place, "", problem.message);
                found(error.hint(problem.hint));
            }
        }
    }
    for (name, value) in added {
        environment.entry(name).or_insert(value);
    }
}
