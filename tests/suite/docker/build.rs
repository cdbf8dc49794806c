//! What the engine is asked for when an image is built, and what is made of its answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::response::{IntoResponse, Response};
use phoenixd::docker::{BuildError, ContextError, ImageOf};
use phoenixd::spec::{Build, BuildContext, Dockerfile, ImageRef, ProjectName, ServiceName, Ulimit};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fake::{Fake, refusal, version};
use super::rich::pairs;

/// A folder with a Dockerfile and a file, and a build of it.
fn folder() -> (TempDir, Build) {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    std::fs::write(folder.path().join("page.html"), "hello").unwrap();
    let build = build(BuildContext::Directory(folder.path().to_owned()));
    (folder, build)
}

pub(super) fn build(context: BuildContext) -> Build {
    Build {
        context,
        dockerfile: Dockerfile::File("Dockerfile".to_owned()),
        args: BTreeMap::new(),
        target: None,
        labels: BTreeMap::new(),
        cache_from: Vec::new(),
        no_cache: false,
        pull: false,
        network: None,
        shm_size_bytes: None,
        ulimits: BTreeMap::new(),
        extra_hosts: Vec::new(),
        platform: None,
        tags: Vec::new(),
        beyond: Vec::new(),
    }
}

/// A daemon that answers a build with these messages.
fn builder(messages: &[Value]) -> Fake {
    let text = messages.iter().fold(String::new(), |mut text, message| {
        writeln!(text, "{message}").unwrap();
        text
    });
    answering(move || text.clone().into_response())
}

fn answering(answer: impl Fn() -> Response + Send + Sync + 'static) -> Fake {
    Fake::new(move |asked| match asked {
        "GET /version" => version("1.41", "1.12"),
        _ => answer(),
    })
}

/// Builds, and hands out what was told on the way.
async fn run(fake: &Fake, build: &Build) -> (Result<(), BuildError>, Vec<String>) {
    let docker = fake.connect().await.unwrap();
    let mut told = Vec::new();
    let of = ImageOf {
        project: &ProjectName::new("shop"),
        service: &ServiceName::new("web"),
        image: &ImageRef::new("shop-web"),
    };
    let ended = docker
        .build(of, build, |line| told.push(line.to_owned()))
        .await;
    (ended, told)
}

/// The parameters of a request's query, decoded, in order.
fn parameters(request: &str) -> Vec<(String, String)> {
    let query = request.split_once('?').unwrap().1;
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(if byte == b'%' {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            } else {
                byte
            });
        }
        String::from_utf8(bytes).unwrap()
    };
    (query.split('&'))
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(key, value)| (key.to_owned(), decode(value)))
        .collect()
}

fn labels() -> String {
    json!({
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "web",
        "com.docker.compose.version": concat!("phoenixd-", env!("CARGO_PKG_VERSION")),
    })
    .to_string()
}

#[tokio::test]
async fn a_build_asks_for_a_name_and_compose_s_labels_and_sends_the_context() {
    let fake = builder(&[json!({"stream": "Successfully built\n"})]);
    let (_folder, build) = folder();
    let (ended, _) = run(&fake, &build).await;
    ended.unwrap();
    let asked = fake.asked();
    let (request, body) = &asked[1];
    assert!(request.starts_with("POST /v1.41/build?"), "{request}");
    let wanted = [
        ("version", "1"),
        ("rm", "1"),
        ("forcerm", "1"),
        ("t", "shop-web"),
        ("labels", &labels()),
        ("dockerfile", "Dockerfile"),
    ];
    let wanted: Vec<_> = wanted.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(parameters(request), wanted);
    for part in ["Dockerfile", "FROM scratch", "page.html", "hello", "ustar"] {
        assert!(body.contains(part), "{part}");
    }
}

#[tokio::test]
async fn everything_that_the_file_says_of_a_build_is_asked_for() {
    let fake = builder(&[]);
    let (_folder, build) = folder();
    let build = Build {
        args: pairs(&[("A", "1 & 2"), ("EMPTY", "")]),
        target: Some("final".to_owned()),
        labels: pairs(&[
            ("team", "shop"),
            // Not the user's to say.
            ("com.docker.compose.service", "other"),
        ]),
        cache_from: vec!["acme/cache:1".to_owned()],
        no_cache: true,
        pull: true,
        network: Some("none".to_owned()),
        shm_size_bytes: Some(1 << 20),
        ulimits: BTreeMap::from([("nofile".to_owned(), Ulimit { soft: 1, hard: 2 })]),
        extra_hosts: vec!["a:10.0.0.1".to_owned(), "b:10.0.0.2".to_owned()],
        platform: Some("linux/arm64".to_owned()),
        tags: vec!["acme/web:1".to_owned()],
        ..build
    };
    run(&fake, &build).await.0.unwrap();
    let mut labels: Value = serde_json::from_str(&labels()).unwrap();
    labels["team"] = json!("shop");
    let wanted = [
        ("version", "1"),
        ("rm", "1"),
        ("forcerm", "1"),
        ("t", "shop-web"),
        ("t", "acme/web:1"),
        ("labels", &labels.to_string()),
        ("buildargs", r#"{"A":"1 & 2","EMPTY":""}"#),
        ("cachefrom", r#"["acme/cache:1"]"#),
        ("nocache", "1"),
        ("pull", "1"),
        ("target", "final"),
        ("networkmode", "none"),
        ("platform", "linux/arm64"),
        ("shmsize", "1048576"),
        ("ulimits", r#"[{"Hard":2,"Name":"nofile","Soft":1}]"#),
        ("extrahosts", "a:10.0.0.1"),
        ("extrahosts", "b:10.0.0.2"),
        ("dockerfile", "Dockerfile"),
    ];
    let wanted: Vec<_> = wanted.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(parameters(&fake.asked()[1].0), wanted);
}

#[tokio::test]
async fn what_is_fetched_by_the_engine_is_named_and_nothing_is_sent() {
    let fake = builder(&[]);
    let address = "https://github.com/acme/app.git#main:web";
    let remote = build(BuildContext::Remote(address.to_owned()));
    run(&fake, &remote).await.0.unwrap();
    let (request, body) = &fake.asked()[1];
    let all = parameters(request);
    assert!(
        all.contains(&("remote".to_owned(), address.to_owned())),
        "{all:?}"
    );
    assert!(all.contains(&("dockerfile".to_owned(), "Dockerfile".to_owned())));
    assert_eq!(body, "");
}

#[tokio::test]
async fn the_lines_of_a_build_are_told_without_paint_and_noise() {
    let fake = builder(&[
        json!({"stream": "Step 1/2 : FROM a"}),
        json!({"stream": "\n"}),
        json!({"status": "Pulling from library/a", "id": "1"}),
        json!({"status": "Downloading", "progressDetail": {"current": 1, "total": 2}, "id": "x"}),
        json!({"stream": " ---\u{3e} 0123456789ab\n"}),
        json!({"stream": "Step 2/2 : RUN make\n"}),
        json!({"stream": "\u{1b}[91mcc: warn"}),
        json!({"stream": "ing\n\u{1b}[0mdone\nRemoving intermediate container 1\n"}),
        json!({"aux": {"ID": "sha256:1"}}),
        json!({"stream": "Successfully built 1\n"}),
    ]);
    let (_folder, build) = folder();
    let (ended, told) = run(&fake, &build).await;
    ended.unwrap();
    assert_eq!(
        told,
        [
            "Step 1/2 : FROM a",
            "1: Pulling from library/a",
            "Step 2/2 : RUN make",
            "cc: warning",
            "done",
            "Successfully built 1",
        ]
    );
}

#[tokio::test]
async fn a_failed_step_is_told_with_its_last_words() {
    let lines = (0..50).fold(String::new(), |mut text, number| {
        writeln!(text, "line {number}").unwrap();
        text
    });
    let fake = builder(&[
        json!({"stream": "Step 1/2 : FROM a\nelsewhere\n"}),
        json!({"stream": "Step 2/2 : RUN make\n"}),
        json!({"stream": lines}),
        json!({
            "error": "x",
            "errorDetail": {"code": 2, "message": "The command '/bin/sh -c make' returned a non-zero code: 2"},
        }),
    ]);
    let (_folder, build) = folder();
    let (ended, _) = run(&fake, &build).await;
    let error = ended.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Step 2/2 : RUN make: it ended with exit code 2"
    );
    let BuildError::Step { output, .. } = error else {
        unreachable!("{error:?}");
    };
    assert_eq!(output.first().map(String::as_str), Some("line 30"));
    assert_eq!(output.last().map(String::as_str), Some("line 49"));
}

#[tokio::test]
async fn what_the_engine_refuses_and_what_cannot_be_sent_are_told_apart() {
    let (folder, build) = folder();
    let fake = answering(|| refusal(400, "dockerfile parse error line 1"));
    let (ended, _) = run(&fake, &build).await;
    assert_eq!(
        ended.unwrap_err().to_string(),
        "the engine refused (status 400): dockerfile parse error line 1"
    );
    fake.asked();

    std::fs::remove_file(folder.path().join("Dockerfile")).unwrap();
    let (ended, _) = run(&fake, &build).await;
    assert!(matches!(
        ended,
        Err(BuildError::Context(ContextError::NoDockerfile(_)))
    ));
    assert_eq!(fake.requests(), ["GET /version"], "nothing was sent");
}
