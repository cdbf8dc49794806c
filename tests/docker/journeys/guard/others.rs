//! Containers that are not managed, and what is allowed on them; the project that they are beside.

use serde_json::{Value, json};

use super::super::support::Journey;

/// A project whose phoenix shares one network and one volume with a service of docker compose, and has one of each alone.
pub(super) fn shared_project() -> Journey {
    let journey = Journey::new();
    let service = "networks: [private, shared]\nvolumes: [\"data:/data\", \"common:/common\"]";
    let web = journey.web(1, service, "drain: 200ms");
    let image = journey.image();
    journey.write(&format!(
        "{web}  db:\n    image: {image}\n    networks: [shared]\n    volumes: [\"common:/common\"]\n\
         networks: {{ private: {{}}, shared: {{}} }}\nvolumes: {{ data: {{}}, common: {{}} }}\n"
    ));
    journey
}

/// Containers that were made for replicas, volumes and networks to come, and not started; as far as the engine makes them: of 20.10
/// only the network may be that of a container which is not there.
pub(super) fn lurkers(journey: &Journey, when: &str) -> Vec<String> {
    let project = &journey.project;
    let data = json!({ "Binds": [format!("{project}_data:/d")] });
    let mut all = made_for(journey, when, &format!("{project}-web-1"));
    let pause = format!("{project}-web-pause.1");
    all.extend(made_for(journey, &format!("{when}-pod"), &pause));
    all.extend(made(journey, &format!("{when}-data"), &[data]));
    let private = json!({ "NetworkMode": format!("{project}_private") });
    all.extend(made(journey, &format!("{when}-private"), &[private]));
    println!("made for what is to come: {all:?}");
    assert!(all.len() >= 3, "{all:?}");
    all
}

/// Containers that join another one.
pub(super) fn made_for(journey: &Journey, when: &str, name: &str) -> Vec<String> {
    let joined = format!("container:{name}");
    let hosts = [
        json!({ "NetworkMode": joined }),
        json!({ "PidMode": joined }),
        json!({ "IpcMode": joined }),
        json!({ "VolumesFrom": [name] }),
    ];
    made(journey, when, &hosts)
}

fn made(journey: &Journey, when: &str, hosts: &[Value]) -> Vec<String> {
    let made = hosts.iter().enumerate().filter_map(|(number, host)| {
        let name = format!("{}-lurker-{when}-{number}", journey.project);
        let body = json!({ "Image": journey.image(), "HostConfig": host });
        let path = format!("/containers/create?name={name}");
        let answer = journey.engine.call("POST", &path, Some(&body));
        (answer.expect("an answer").status == 201).then_some(name)
    });
    made.collect()
}

/// The guard lets none of them begin.
pub(super) fn do_not_start(journey: &Journey, lurkers: &[String]) {
    for lurker in lurkers {
        let start = format!("/containers/{lurker}/start");
        let answer = journey.engine.call("POST", &start, None);
        let said = answer.expect("an answer").text();
        assert!(said.contains("authorization denied"), "{lurker}: {said}");
    }
}

/// As anybody may.
pub(super) fn remove(journey: &Journey, lurkers: &[String]) {
    for lurker in lurkers {
        let path = format!("/containers/{lurker}?force=1");
        journey.engine.must("DELETE", &path, None);
    }
}

/// A container that is none of phoenixd's business.
pub(super) fn stranger(journey: &Journey, name: &str) -> String {
    let name = format!("{}-{name}", journey.project);
    journey
        .engine
        .stranger(&journey.project, &name, journey.image(), &json!({}));
    name
}

/// An exec that is made, and not started.
pub(super) fn exec_made(journey: &Journey, container: &str) -> String {
    let body = json!({ "Cmd": ["/phoenixd", "--version"] });
    let made = journey.engine.must(
        "POST",
        &format!("/containers/{container}/exec"),
        Some(&body),
    );
    made.json()["Id"].as_str().expect("an id").to_owned()
}

/// What is allowed on a container that is not managed.
pub(super) fn others_work(journey: &Journey, old: &str) {
    let engine = &journey.engine;
    let exec = exec_made(journey, old);
    let start = json!({ "Detach": true });
    engine.must("POST", &format!("/exec/{exec}/start"), Some(&start));
    engine.must("GET", &format!("/exec/{exec}/json"), None);
    let fresh = stranger(journey, "after");
    for (method, path) in [
        ("GET", format!("/containers/{fresh}/logs?stdout=1")),
        ("GET", format!("/containers/{fresh}/archive?path=/phoenixd")),
        ("GET", format!("/containers/{fresh}/changes")),
        ("POST", format!("/containers/{fresh}/pause")),
        ("POST", format!("/containers/{fresh}/unpause")),
        ("POST", format!("/containers/{fresh}/rename?name={fresh}-2")),
        ("POST", format!("/containers/{fresh}-2/restart?t=0")),
        ("DELETE", format!("/containers/{fresh}-2?force=1")),
    ] {
        engine.must(method, &path, None);
    }
    // As docker compose makes it for the service that shares a network and a volume.
    let project = &journey.project;
    let endpoints =
        json!({ format!("{project}_shared"): { "Aliases": ["db", format!("{project}-db-1")] } });
    let body = json!({
        "Image": journey.image(),
        "HostConfig": {
            "NetworkMode": format!("{project}_shared"),
            "Binds": [format!("{project}_common:/common"), "/etc/hostname:/h:ro"],
        },
        "NetworkingConfig": { "EndpointsConfig": endpoints },
    });
    let path = format!("/containers/create?name={project}-db-1");
    engine.must("POST", &path, Some(&body));
    engine.must("POST", &format!("/containers/{project}-db-1/start"), None);
    engine.must(
        "DELETE",
        &format!("/containers/{project}-db-1?force=1"),
        None,
    );
    let network = format!("{}-own", journey.project);
    engine.must(
        "POST",
        "/networks/create",
        Some(&json!({ "Name": network })),
    );
    engine.must("DELETE", &format!("/networks/{network}"), None);
    let memory = json!({ "type": "tmpfs", "device": "tmpfs", "o": "size=1m" });
    for options in [json!({}), memory] {
        let volume = json!({ "Name": network, "DriverOpts": options });
        engine.must("POST", "/volumes/create", Some(&volume));
        engine.must("DELETE", &format!("/volumes/{network}"), None);
    }
}
