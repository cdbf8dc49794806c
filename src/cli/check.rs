//! `phoenixd check`: validates the file and prints the hardening verdict of each service.

use std::fmt::Write;

use super::context::{Context, runtime};
use super::output::{Complaint, Exit, print};
use crate::daemon::ResolvedProject;
use crate::report;
use crate::spec::FindingKind;

pub(super) fn run(context: &Context) -> Result<Exit, Complaint> {
    context.log(false);
    let loaded = context.load()?;
    let resolved = runtime()?.block_on(async {
        let connected = context.connect().await?;
        context.resolve(&connected, &loaded).await
    })?;
    print(&verdict(&resolved)).map_err(super::cannot_print)?;
    Ok(Exit::Success)
}

/// The verdict of every service, exceptions by name.
pub(super) fn verdict(resolved: &ResolvedProject) -> String {
    let mut text = String::new();
    for (name, service) in &resolved.services {
        let phoenix = &service.service.phoenix;
        // Writing to a string cannot fail.
        let exceptions = service
            .findings
            .iter()
            .filter(|f| matches!(f.kind, FindingKind::Exception(_)))
            .count();
        let summary = match exceptions {
            0 => "hardened".to_owned(),
            1 => "hardened, with 1 exception".to_owned(),
            n => format!("hardened, with {n} exceptions"),
        };
        _ = writeln!(text, "{name}: {summary}");
        for finding in &service.findings {
            let line = report::escape(&finding.text).into_owned();
            match finding.kind {
                FindingKind::Hardened => _ = writeln!(text, "  ok         {line}"),
                FindingKind::Exception(allow) => {
                    _ = writeln!(text, "  exception  {line} (allow: {allow})");
                }
            }
        }
        let life = phoenix.lifetime();
        _ = writeln!(
            text,
            "  life       {} to {}, {} x {}, surge {}, drain {}",
            report::duration(life.shortest),
            report::duration(life.longest),
            service.service.replicas,
            service.container.image,
            phoenix.surge,
            report::duration(phoenix.drain),
        );
    }
    for foreign in &resolved.project.foreign {
        _ = writeln!(text, "{foreign}: no `x-phoenix`, left to docker compose");
    }
    text
}
