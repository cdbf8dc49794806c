//! The image's own health check, where it is the only probe there is; and that of every kind it is no taint.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Journey, pause, variable, with_shell};
use super::taint::journal;

/// For how long checks run; `PHOENIXD_CHECKS_SECONDS` says another.
const CHECKS: Duration = Duration::from_secs(45);

#[test]
fn a_replica_without_ports_gets_ready_by_its_own_health_check() {
    let journey = Journey::new();
    journey.write(&format!(
        "services:
  worker:
    image: {}
    stop_grace_period: 3s
    deploy: {{ replicas: 2 }}
    healthcheck:
      test: [\"CMD\", \"/phoenixd\", \"--version\"]
      interval: 1s
      timeout: 5s
      retries: 3
    x-phoenix:
      ttl: 1h
      drain: 0s
      probe: docker
",
        journey.image()
    ));
    let _supervisor = journey.up_ready(2);
    let before = journey.running_ids();
    for id in &before {
        let inspect = journey.inspect(id);
        assert_eq!(
            inspect["State"]["Health"]["Status"], "healthy",
            "{inspect:#}"
        );
        assert_eq!(inspect["Config"]["Healthcheck"]["Test"][1], "/phoenixd");
    }
    journey.run(&["recycle"]).success();
    let after = journey.running_ids();
    assert!(after.len() == 2 && after.iter().all(|id| !before.contains(id)));
    for id in &after {
        assert_eq!(journey.inspect(id)["State"]["Health"]["Status"], "healthy");
    }
}

/// Checks that become other programs, whose words the engine tells in its own way, or cuts.
#[test]
fn health_checks_of_every_kind_taint_nothing() {
    let journey = Journey::new();
    let image = journey.keep(with_shell(&journey.engine));
    let long = format!("sleep 0.1 # {}", "x".repeat(6000));
    let kinds = [
        ("word", json!(["CMD", "/check"])),
        ("arguments", json!(["CMD", "/phoenixd", "--version"])),
        ("becomes", json!(["CMD", "sh", "-c", "exec sleep 0.2"])),
        ("variable", json!(["CMD-SHELL", "A=sleep; exec $A 0.2"])),
        ("shell", json!(["CMD-SHELL", "sleep 0.1 || exit 1"])),
        ("long", json!(["CMD-SHELL", long])),
    ];
    let mut services = serde_json::Map::new();
    for (name, test) in &kinds {
        let service = json!({
            "image": image,
            "stop_grace_period": "3s",
            "healthcheck": { "test": test, "interval": "1s", "timeout": "20s", "retries": 30 },
            "x-phoenix": { "ttl": "1h", "drain": "0s", "probe": "docker" },
        });
        // A variable is the shell's and not of the file.
        services.insert((*name).to_owned(), service);
    }
    let file = json!({ "services": services }).to_string();
    journey.write(&file.replace('$', "$$"));
    let mut supervisor = journey.up_ready(kinds.len());
    let seconds = variable("PHOENIXD_CHECKS_SECONDS").and_then(|seconds| seconds.parse().ok());
    pause(seconds.map_or(CHECKS, Duration::from_secs));
    supervisor.await_ready(kinds.len());
    assert_eq!(journal(&journey, "tainted"), Vec::<Value>::new());
    for id in journey.running_ids() {
        let inspect = journey.inspect(&id);
        assert_eq!(
            inspect["State"]["Health"]["Status"], "healthy",
            "{inspect:#}"
        );
    }
    supervisor.end();
}
