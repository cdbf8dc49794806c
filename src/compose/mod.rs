//! Compose text -> spec, or diagnostics with `file:line:column`, all of them at once.
//!
//! The way of a file: bytes become a tree in which every node knows its place (`yaml`, `tree`); variables are replaced
//! (`interpolate`); several files, `extends` and `include` become one tree in long form (`load`); the tree is bound by
//! hand to the types of `spec` (`project`, `service`, `phoenix`, `top`).
//!
//! Pure: the caller reads the Compose files, `.env` and the environment; files that these name and symlinks are asked
//! for through [`Files`]. Not here: anything that needs an image or an engine (`spec::resolve`), and printing (`report`).

mod bind;
mod dotenv;
mod edge;
mod image;
mod input;
mod interpolate;
mod load;
mod model;
mod paths;
mod phoenix;
mod problems;
mod project;
mod scalar;
mod service;
mod shell;
mod suggest;
mod top;
mod top_files;
mod tree;
mod yaml;
mod yaml_error;

pub use self::input::{Files, Input, ReadError, SourceFile};
pub use self::load::{DotenvFile, add_dotenv, project_name};
pub use self::model::{Fate, Format, KeyFate, Printed, fates};
use self::problems::Problems;
use crate::spec::{Diagnostic, Project, has_errors};

/// Reads a project. All problems come at once, in the order of the file; a project only when none is an error.
pub fn load(input: &Input, files: &dyn Files) -> (Option<Project>, Vec<Diagnostic>) {
    load_with_texts(input, files, &mut Vec::new())
}

/// The same; the Compose files that others name go to `texts`, for excerpts under diagnostics.
pub fn load_with_texts(
    input: &Input,
    files: &dyn Files,
    texts: &mut Vec<SourceFile>,
) -> (Option<Project>, Vec<Diagnostic>) {
    let mut problems = Problems::default();
    let project = read(input, files, texts, &mut problems);
    let diagnostics = problems.sorted();
    let project = project.filter(|_| !has_errors(&diagnostics));
    (project, diagnostics)
}

/// The resolved model, as `docker compose config` prints it: the services of the active profiles, and the phoenixes,
/// with what they use.
pub fn config(
    input: &Input,
    files: &dyn Files,
    texts: &mut Vec<SourceFile>,
    format: Format,
) -> (Option<Printed>, Vec<Diagnostic>) {
    let mut problems = Problems::default();
    let resolved = resolve(input, files, texts, &mut problems);
    if let Some(resolved) = &resolved
        && resolved.has_phoenixes()
    {
        project::bind(input, files, resolved, &mut problems);
    }
    let diagnostics = problems.sorted();
    let resolved = resolved.filter(|_| !has_errors(&diagnostics));
    let printed = resolved.map(|resolved| model::print(&resolved.shown(), format));
    (printed, diagnostics)
}

fn read(
    input: &Input,
    files: &dyn Files,
    texts: &mut Vec<SourceFile>,
    out: &mut Problems,
) -> Option<Project> {
    let resolved = resolve(input, files, texts, out)?;
    project::bind(input, files, &resolved, out)
}

fn resolve(
    input: &Input,
    files: &dyn Files,
    texts: &mut Vec<SourceFile>,
    out: &mut Problems,
) -> Option<load::Resolved> {
    if input.files.is_empty() {
        let problem = Diagnostic::error("no-file", None, "", "no Compose file is given");
        out.push(problem.hint("name one: `-f compose.yaml`"));
        return None;
    }
    load::resolve(input, files, texts, out)
}
