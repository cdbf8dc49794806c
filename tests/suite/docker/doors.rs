//! Which replica's doors are tried.

use phoenixd::spec::ProjectName;
use serde_json::json;

use super::fake::{Fake, answer, refusal, version};

#[tokio::test]
async fn doors_are_tried_of_this_project_s_replicas_alone_in_order_of_their_names() {
    let replica = |name: &str, id: &str, role: Option<&str>| {
        let mut labels = json!({ "phoenixd.project": "shop" });
        if let Some(role) = role {
            labels["phoenixd.role"] = json!(role);
        }
        json!({ "Id": id, "Names": [format!("/{name}")], "Labels": labels })
    };
    let list = json!([
        replica("shop-web-2", "2", None),
        replica("shop-web-edge.1", "3", Some("edge")),
        replica("shop-web-0.break-glass-5824068", "4", None),
        replica("shop-web-1", "1", None),
    ]);
    let fake = Fake::new(move |asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        "GET /v1.41/containers/json" => answer(200, list.clone()),
        _ => refusal(404, "no"),
    });
    let docker = fake.connect().await.unwrap();
    drop(fake.requests());
    let shop = ProjectName::new("shop".to_owned());
    let found = docker.running_replicas(Some(&shop)).await.unwrap();
    let found: Vec<(&str, &str)> = (found.iter())
        .map(|(name, id)| (name.as_str(), id.as_str()))
        .collect();
    assert_eq!(found, [("shop-web-1", "1"), ("shop-web-2", "2")]);
    docker.running_replicas(None).await.unwrap();
    let asked = fake.requests();
    let (of_shop, of_all) = (&asked[0], &asked[1]);
    assert!(of_shop.contains("phoenixd.project%3Dshop"), "{of_shop}");
    assert!(of_all.contains("%22phoenixd.project%22"), "{of_all}");
}
