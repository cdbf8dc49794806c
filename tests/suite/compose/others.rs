//! What the services that are left to docker compose use of what phoenixes use, too.

use super::load_text;

#[test]
fn networks_and_volumes_of_docker_compose_s_services_are_told_apart_from_those_of_phoenixes_alone()
{
    let text = "
name: shop
services:
  web:
    image: web
    networks: [private, shared, given]
    volumes: ['data:/data', 'common:/common', 'logs:/logs']
    x-phoenix: {}
  db:
    image: db
    networks: { shared: { aliases: [data] } }
    volumes:
      - common:/common
      - ./data:/data
      - { type: volume, source: logs, target: /logs }
  job:
    image: job
    network_mode: none
    profiles: [never]
    volumes: [/anonymous]
networks:
  private:
  shared: { name: front }
  given: { external: true }
volumes:
  data:
  common:
  logs: { name: all-logs }
";
    let (project, problems) = load_text(text);
    let project = project.unwrap_or_else(|| panic!("{problems:?}"));
    let others = project.others;
    let networks: Vec<_> = others.networks.iter().map(ToString::to_string).collect();
    let volumes: Vec<_> = others.volumes.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["front"]);
    assert_eq!(volumes, ["all-logs", "shop_common"]);
}

#[test]
fn the_default_network_is_shared_as_soon_as_a_service_of_docker_compose_names_none() {
    let of = |db: &str| {
        let text = format!(
            "name: shop\nservices:\n  web: {{ image: web, x-phoenix: {{}} }}\n  db: {{ image: db, {db} }}\n"
        );
        let networks = load_text(&text).0.unwrap().others.networks;
        networks.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of("restart: always"), ["shop_default"]);
    assert!(of("network_mode: host").is_empty());
}
