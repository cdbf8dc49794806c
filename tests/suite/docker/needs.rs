//! What an engine of some age would drop in silence.

use phoenixd::docker::{ApiVersion, Engine, container_needs, network_needs};
use phoenixd::spec::{
    ContainerSpec, HealthTest, NetworkMode, NetworkName, NetworkSpec, ProjectName,
};
use serde_json::{Value, json};

use super::fake::{Fake, answer, version};
use super::rich::{pairs, rich};

/// What is missing for everything that a definition can say.
fn missing(container: &ContainerSpec, minor: u32) -> Vec<(&'static str, String)> {
    let needs = container_needs(container, ApiVersion::one(minor)).into_iter();
    needs
        .map(|need| (need.what, need.since.to_string()))
        .collect()
}

fn rich_with_interface() -> ContainerSpec {
    let mut container = rich();
    if let NetworkMode::Networks(attachments) = &mut container.network {
        attachments[1].driver_opts = pairs(&[(phoenixd::spec::INTERFACE_NAME, "eth7")]);
    }
    container
}

#[test]
fn each_feature_needs_the_api_that_brought_it() {
    let container = rich_with_interface();
    let all = [
        ("`annotations`", "1.43"),
        ("`recursive` of a bind mount", "1.44"),
        ("`start_interval` of a health check", "1.44"),
        ("a volume's `subpath`", "1.45"),
        ("a mount of type `image`", "1.48"),
        ("`gw_priority`", "1.48"),
        ("`interface_name`", "1.49"),
    ];
    for minor in 41..=51 {
        let since = |text: &str| text.strip_prefix("1.").unwrap().parse::<u32>().unwrap();
        let expected: Vec<_> = all
            .iter()
            .filter(|(_, api)| since(api) > minor)
            .map(|(what, api)| (*what, (*api).to_owned()))
            .collect();
        assert_eq!(missing(&container, minor), expected, "1.{minor}");
    }
}

#[test]
fn what_is_not_asked_for_needs_nothing() {
    let mut container = rich();
    container.annotations.clear();
    container.mounts.clear();
    container.network = NetworkMode::None;
    // A health check that is switched off has no interval.
    if let Some(check) = &mut container.healthcheck {
        check.test = HealthTest::None;
    }
    assert_eq!(missing(&container, 41), []);
}

fn v6() -> NetworkSpec {
    NetworkSpec {
        key: "v6".to_owned(),
        name: NetworkName::new("shop_v6"),
        external: false,
        driver: None,
        driver_opts: pairs(&[]),
        internal: false,
        attachable: false,
        enable_ipv4: Some(false),
        enable_ipv6: Some(true),
        ipam_driver: None,
        ipam_pools: Vec::new(),
        labels: pairs(&[]),
        place: None,
    }
}

#[test]
fn a_network_without_ipv4_needs_api_1_48() {
    let mut network = v6();
    let needs = |network: &NetworkSpec, minor| network_needs(network, ApiVersion::one(minor)).len();
    assert_eq!((needs(&network, 47), needs(&network, 48)), (1, 0));
    network.enable_ipv4 = Some(true);
    assert_eq!(needs(&network, 41), 0);
}

#[tokio::test]
async fn a_network_without_ipv4_is_made_by_an_engine_that_can() {
    for (api, is_made) in [("1.47", false), ("1.48", true)] {
        let network = NetworkSpec {
            enable_ipv4: Some(false),
            ..v6()
        };
        let path = format!("GET /v{api}/networks");
        let fake = Fake::new(move |asked| match asked {
            "GET /version" => version(api, "1.24"),
            asked if asked == path => answer(200, json!([])),
            _ => answer(201, json!({"Id": "n", "Warning": ""})),
        });
        let docker = fake.connect().await.unwrap();
        let made = docker
            .create_network(&ProjectName::new("shop"), &network)
            .await;
        assert_eq!(made.is_ok(), is_made, "{api}: {made:?}");
        let create = format!("POST /v{api}/networks/create");
        let asked = fake.asked();
        let body = asked.iter().find(|(path, _)| *path == create);
        let body = body.map(|(_, body)| serde_json::from_str::<Value>(body).unwrap());
        let expected = is_made.then_some((json!(false), json!(true)));
        let sent = body.map(|body| (body["EnableIPv4"].clone(), body["EnableIPv6"].clone()));
        assert_eq!(sent, expected, "{api}");
    }
}
