//! `phoenixd config`: the file as docker compose understands it, all services included. Needs no engine.

use super::args::ConfigFormat;
use super::context::Context;
use super::output::{Complaint, Exit, print};
use crate::compose::{Format, Printed};

pub(super) fn run(
    context: &Context,
    format: ConfigFormat,
    services: bool,
) -> Result<Exit, Complaint> {
    context.log(false);
    let model = context.config(match format {
        ConfigFormat::Yaml => Format::Yaml,
        ConfigFormat::Json => Format::Json,
    })?;
    let text = match (services, format) {
        (true, _) => names(&model),
        (false, ConfigFormat::Yaml) => model.to_yaml(),
        (false, ConfigFormat::Json) => model.to_json(),
    };
    print(&text).map_err(super::cannot_print)?;
    Ok(Exit::Success)
}

/// The names of the services, one on each line.
fn names(model: &Printed) -> String {
    match model.get("services") {
        Some(Printed::Map(services)) => (services.iter())
            .flat_map(|(name, _)| [name.as_str(), "\n"])
            .collect(),
        _ => String::new(),
    }
}
