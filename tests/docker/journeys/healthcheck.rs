//! The image's own health check, where it is the only probe there is.

use super::support::Journey;

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
