//! The project's name: `-p`, else `COMPOSE_PROJECT_NAME`, else `name:` of the last file that has one, else that of the
//! directory, as Compose makes a name of it.

use super::session::Source;
use crate::compose::Input;
use crate::compose::bind::At;
use crate::compose::interpolate::interpolate;
use crate::compose::problems::Problems;
use crate::spec::{Place, ProjectName};

/// What a project with an invalid name is called until its problems are told.
const NAMELESS: &str = "project";

/// The name; an invalid one is reported, and another one used for the rest of the reading.
pub(super) fn of(input: &Input, sources: &[Source], out: &mut Problems) -> Option<ProjectName> {
    let first = sources.first()?;
    let place = Place::file(&**first.shown);
    // An empty `COMPOSE_PROJECT_NAME` is one that is not set.
    let variable = input.environment.get("COMPOSE_PROJECT_NAME");
    let given = input.project_name.as_ref().or(variable);
    if let Some(given) = given.filter(|name| !name.is_empty()) {
        if !ProjectName::is_valid(given) {
            let message = format!("`{given}` is not a project name");
            let hint = format!(
                "{}; it comes from `-p` or `COMPOSE_PROJECT_NAME`",
                ProjectName::RULE
            );
            out.error_at(&place, "name", "project-name", message, hint);
            return Some(ProjectName::new(NAMELESS));
        }
        return Some(ProjectName::new(given));
    }
    let written = sources
        .iter()
        .flat_map(|source| &source.documents)
        .rev()
        // An empty one is one that is not written.
        .filter_map(|document| document.some("name"))
        .find(|name| name.as_text() != Some(""));
    if let Some(node) = written {
        let at = At::new(node, "name");
        let node = interpolate(&at, &input.environment, out);
        let at = At::new(&node, "name");
        let written = at.text(out).unwrap_or_default();
        let name = normalized(written);
        if !ProjectName::is_valid(&name) {
            if at.as_text().is_some() {
                let message = format!("`{written}` is not a project name");
                out.error(&at, "project-name", message, ProjectName::RULE);
            }
            return Some(ProjectName::new(NAMELESS));
        }
        if name != written {
            let message = format!("the project is called `{name}`, not `{written}`");
            out.warning(&at, "project-name", message, ProjectName::RULE);
        }
        return Some(ProjectName::new(name));
    }
    let directory = input.working_dir.file_name().unwrap_or_default();
    let name = normalized(&directory.to_string_lossy());
    if !ProjectName::is_valid(&name) {
        let message = format!(
            "the directory `{}` gives the project no name",
            input.working_dir.display()
        );
        out.error_at(
            &place,
            "name",
            "project-name",
            message,
            "write `name: myproject` at the top of the file, or give `-p`",
        );
        return Some(ProjectName::new(NAMELESS));
    }
    Some(ProjectName::new(name))
}

/// A name as Compose makes it of any text.
fn normalized(text: &str) -> String {
    let name: String = text
        .to_lowercase()
        .chars()
        .filter(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-'))
        .collect();
    name.trim_start_matches(['_', '-']).to_owned()
}
