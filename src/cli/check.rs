//! `phoenixd check`: validates the file and prints the hardening verdict of each service.

use std::fmt::Write;

use super::context::{Context, runtime};
use super::output::{Complaint, Exit, print};
use crate::daemon::ResolvedProject;
use crate::report;
use crate::spec::{Balance, Edge, FindingKind, Forwarding, Resolved, Service};

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
        if let Some(edge) = edge(service) {
            _ = writeln!(text, "  edge       {edge}");
        }
    }
    for foreign in &resolved.project.foreign {
        _ = writeln!(text, "{foreign}: no `x-phoenix`, left to docker compose");
    }
    text
}

/// Who leads traffic to it, where that is worth a word.
fn edge(resolved: &Resolved) -> Option<String> {
    match resolved.service.phoenix.edge {
        Edge::Forward(_) if resolved.service.published.is_empty() => None,
        Edge::Forward(forwarding) => Some(forwards(&resolved.service, forwarding)),
        Edge::None => Some("none: its names lead to its replicas".to_owned()),
        Edge::External => {
            let on_ready = resolved.container.on_ready.as_ref()?;
            let (names, network) = (on_ready.aliases.join(", "), &on_ready.network);
            let text = format!("external: ready replicas are {names} on {network}");
            Some(report::escape(&text).into_owned())
        }
    }
}

/// How its ports are forwarded; what is as by default goes without saying, but for the protocol.
fn forwards(service: &Service, forwarding: Forwarding) -> String {
    let ports: Vec<String> = service.published.iter().map(ToString::to_string).collect();
    let mut text = format!("{} by {}", ports.join(", "), forwarding.protocol);
    if forwarding.balance != Balance::default() {
        _ = write!(text, ", {}", forwarding.balance);
    }
    if let Some(idle) = forwarding.idle_timeout {
        _ = write!(text, ", idle_timeout {}", report::duration(idle));
    }
    if let Some(most) = forwarding.max_connections {
        _ = write!(text, ", max_connections {most}");
    }
    if let Some(rate) = forwarding.rate {
        _ = write!(text, ", rate {rate}");
    }
    if let Some(version) = forwarding.proxy_protocol {
        _ = write!(text, ", proxy_protocol {version}");
    }
    text
}
