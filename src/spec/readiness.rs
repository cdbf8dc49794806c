//! Which probe a phoenix gets: the one that the file asks for, or the first that is possible.

use super::harden::Hardening;
use super::{Diagnostic, HealthTest, Healthcheck, NetworkMode, Probe, ProbeKind, Transport};

impl Hardening<'_> {
    /// The probe that the file asks for, or the first that is possible: TCP on a known port, then Docker's own.
    pub(super) fn probe(&mut self) -> Option<Probe> {
        let setting = &self.service.phoenix.probe;
        let has_network = self.container.network != NetworkMode::None;
        let port = setting
            .port
            .or_else(|| self.first_port())
            .filter(|_| has_network);
        let own_healthcheck = match self.container.healthcheck.as_ref().map(|check| &check.test) {
            None | Some(HealthTest::Inherit) => self.image.has_healthcheck,
            Some(HealthTest::None) => false,
            Some(HealthTest::Cmd(_) | HealthTest::CmdShell(_)) => true,
        };
        let probe = match (&setting.kind, port) {
            (Some(ProbeKind::Http(path)), Some(port)) => Some(Probe::Http {
                path: path.clone(),
                port,
            }),
            (Some(ProbeKind::Tcp) | None, Some(port)) => Some(Probe::Tcp { port }),
            (Some(ProbeKind::Docker), _) | (None, None) if own_healthcheck => Some(Probe::Docker),
            (Some(ProbeKind::None), _) => Some(Probe::Running),
            (Some(ProbeKind::Http(_) | ProbeKind::Tcp | ProbeKind::Docker) | None, _) => None,
        };
        match &probe {
            None => self.no_probe(),
            Some(Probe::Docker) => {
                self.hardened("probe: Docker's HEALTHCHECK (50 to 70 ms of CPU each time)");
            }
            Some(outside) => {
                let text = format!("probe: {outside}");
                self.hardened(text);
                if own_healthcheck {
                    self.healthcheck_off(outside);
                }
                self.container.healthcheck = Some(Healthcheck {
                    test: HealthTest::None,
                    interval: None,
                    timeout: None,
                    retries: None,
                    start_period: None,
                    start_interval: None,
                });
            }
        }
        probe
    }

    /// The file's own check is switched off; say so unless the file chose the probe itself.
    fn healthcheck_off(&mut self, probe: &Probe) {
        if self.service.container.healthcheck.is_some() && self.service.phoenix.probe.kind.is_none()
        {
            let message = format!(
                "the health check of `{}` is switched off: phoenixd probes from outside ({probe})",
                self.service.name
            );
            let place = self.service.place("healthcheck");
            self.diagnostics.push(
                Diagnostic::warning("healthcheck-off", place, self.service.path("healthcheck"), message).hint(
                    "choose the probe: `x-phoenix: { probe: { http: /path } }`, or `probe: docker` to keep the health check",
                ),
            );
        }
    }

    fn no_probe(&mut self) {
        let (message, hint) = match self.service.phoenix.probe.kind {
            Some(ProbeKind::Docker) => (
                format!(
                    "`{}` is to be probed by Docker's HEALTHCHECK, and neither image nor file has one",
                    self.service.name
                ),
                "add `healthcheck:`, or choose another probe",
            ),
            _ => (
                format!(
                    "nothing is known by which `{}` could be seen to be ready: no port and no health check",
                    self.service.name
                ),
                "add `x-phoenix: { probe: { port: N } }`, or a `healthcheck:`, or `probe: none` with `min_ready` if it serves nobody",
            ),
        };
        self.refuse("no-probe", "x-phoenix.probe", message, hint);
    }

    fn first_port(&self) -> Option<u16> {
        let published = self
            .service
            .published
            .iter()
            .find(|published| published.transport == Transport::Tcp)
            .map(|published| published.target);
        let exposed = || {
            self.container
                .exposed
                .iter()
                .find(|(_, protocol)| protocol == "tcp")
                .map(|(port, _)| *port)
        };
        published
            .or_else(exposed)
            .or_else(|| self.image.exposed_tcp.first().copied())
    }
}
