//! docker compose's own hash of a service, by which it tells whether a container is what its file asks for.

use super::load_text;

/// The file, and what `docker compose config --hash '*'` of docker compose 2.40.3 printed for it on 2026-11-23.
const FILE: &str = r#"
name: hashed
services:
  plain: { image: nginx, x-phoenix: { ttl: 1h }, profiles: [phoenix] }
  rich:
    image: nginx:1.29
    command: ["sh", "-c", "a < b && c > $$d"]
    environment: { A: "1", EMPTY: "", Z: "é & \"q\"" }
    ports: ["8080:80"]
    expose: ["81"]
    labels: { b: "2", a: "1" }
    mem_limit: 64m
    cpus: 0.5
    stop_grace_period: 1m30s
    ulimits: { nofile: { soft: 1024, hard: 2048 } }
    healthcheck: { test: [CMD, "true"], interval: 10s }
    tmpfs: /tmp
    scale: 2
    deploy: { replicas: 2 }
    networks: { default: { aliases: [r] } }
    volumes: ["data:/d", { type: tmpfs, target: /t }]
    x-phoenix:
volumes: { data: }
"#;
const PRINTED: [(&str, &str); 2] = [
    (
        "plain",
        "daef7adc9ecc59d4881bd1ebc06f26a836d35656f8b5fb0adfdb95b2d856fbd3",
    ),
    (
        "rich",
        "ff4843d93c29910e8561414fc97191519b92b49f02fca45433155ac8d56b26b6",
    ),
];

#[test]
fn a_service_s_hash_is_the_one_that_docker_compose_makes() {
    let (project, diagnostics) = load_text(FILE);
    let project = project.unwrap_or_else(|| panic!("{diagnostics:?}"));
    for (name, hash) in PRINTED {
        let service = project
            .services
            .values()
            .find(|service| service.name.as_str() == name);
        assert_eq!(
            service.unwrap().compose_hash.as_deref(),
            Some(hash),
            "{name}"
        );
    }
}
