//! `phoenixd demo` and the application inside its containers.

use std::time::Duration;

use super::args::DemoArgs;
use super::context::{Context, runtime};
use super::output::{Complaint, Exit};
use crate::clock;
use crate::config::Environment;
use crate::demo::app;
use crate::report::Chain;

/// The hidden `demo-app`: what runs inside the demo's containers.
pub(super) fn app() -> Result<Exit, Complaint> {
    let environment = Environment::read();
    let variable = |name| environment.demo(name).map(str::to_owned);
    let number = |name| variable(name).and_then(|text| text.parse::<u64>().ok());
    let id = variable("HOSTNAME").unwrap_or_else(|| "localhost".to_owned());
    let settings = app::Settings {
        port: number("PORT")
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(8080),
        container: variable("PHOENIXD_REPLICA").unwrap_or_else(|| id.clone()),
        id,
        serial: number("PHOENIXD_SERIAL"),
        ttl: variable("DEMO_TTL").and_then(|text| humantime::parse_duration(&text).ok()),
        mischief: variable("DEMO_MISCHIEF").is_some(),
        clock: clock::boot_now,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Complaint::unexpected(format!("cannot start the runtime: {error}")))?;
    match runtime.block_on(app::serve(settings)) {
        Ok(()) => Ok(Exit::Success),
        Err(error) => Err(Complaint::unmet(Chain(&error).to_string())),
    }
}

pub(super) fn run(_context: &Context, _args: &DemoArgs) -> Result<Exit, Complaint> {
    let _ = (runtime, Duration::ZERO);
    Err(Complaint::unexpected("not there yet"))
}
