//! Promises about reading that hold whatever the file says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use phoenixd::compose::{Input, SourceFile, load};
use phoenixd::spec::{Diagnostic, ImageFacts, ImageId, MountSource, Severity, resolve};

use super::{Host, each, environment, fixtures, input, load_text, problems, rendered, service};

#[test]
fn every_place_lies_inside_the_file() {
    for folder in ["valid", "invalid"] {
        each(folder, |name, text| {
            let file = format!("{name}.yaml");
            let (project, diagnostics) = load(&input(&file, text.clone()), &Host);
            let lines: Vec<usize> = String::from_utf8_lossy(&text)
                .lines()
                .map(|line| line.chars().count())
                .collect();
            let services = project.iter().flat_map(|one| one.services.values());
            let places = services
                .flat_map(|service| service.places.values())
                .chain(diagnostics.iter().filter_map(|one| one.place.as_ref()))
                .filter(|place| place.file.as_path() == Path::new(&file) && place.line > 0);
            for place in places {
                let line = usize::try_from(place.line).unwrap();
                let column = usize::try_from(place.column).unwrap();
                let width = lines.get(line - 1).copied().unwrap_or_default();
                assert!((1..=width + 1).contains(&column), "{place}");
            }
        });
    }
}

#[test]
fn diagnostics_come_in_the_order_of_the_file() {
    each("invalid", |name, text| {
        let (_, diagnostics) = load(&input(name, text), &Host);
        let places: Vec<_> = diagnostics.iter().map(|one| &one.place).collect();
        assert!(places.is_sorted(), "{name}");
    });
}

#[test]
fn every_key_of_the_specification_is_known() {
    // The properties of a service in the Compose Specification's schema, 2026-06.
    const KEYS: &str = "annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs \
        container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset \
        credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname \
        entrypoint env_file environment expose extends external_links extra_hosts gpus group_add healthcheck hostname \
        image init ipc isolation label_file labels links logging mac_address mem_limit mem_reservation mem_swappiness \
        memswap_limit models network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform ports \
        post_start pre_stop privileged profiles provider pull_policy pull_refresh_after read_only restart runtime scale \
        secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits \
        use_api_socket user userns_mode uts volumes volumes_from working_dir";
    let keys: Vec<&str> = KEYS.split_whitespace().collect();
    assert_eq!(keys.len(), 92);
    for key in keys {
        let text = format!("services: {{ web: {{ {key}: , x-phoenix: }} }}");
        let found = problems(&text);
        assert!(!found.contains("unknown-key"), "{found}");
    }
}

#[test]
fn a_key_that_may_be_without_a_value_is_then_a_key_that_is_not_there() {
    let bare = "services: { web: { image: nginx, x-phoenix: } }";
    let empty = "services: { web: { image: nginx, deploy: , x-phoenix: {} } }";
    let (mut bare, mut empty) = (service(bare), service(empty));
    bare.places.clear();
    empty.places.clear();
    assert_eq!(bare, empty);
}

#[test]
fn a_scalar_is_passed_on_as_docker_compose_does_and_quoted_text_as_it_stands() {
    let text = "services:\n  web:\n    image: nginx\n    labels: { a: 22:22, b: 0440, c: 1.10, d: yes, e: 0x10, f: 1_000, g: '2001-01-01', h: .5, i: 'null', j: !!str 5, k: !!str null, l: ! ~, m: !!int 7 }\n    x-phoenix:\n";
    let labels: Vec<String> = service(text).container.labels.into_values().collect();
    assert_eq!(
        labels,
        [
            "22:22",
            "288",
            "1.1",
            "yes",
            "16",
            "1000",
            "2001-01-01",
            "0.5",
            "null",
            "5",
            "null",
            "~",
            "7"
        ]
    );
}

fn named(project_name: Option<&str>, working_dir: &str, text: &str) -> Result<String, String> {
    let input = Input {
        files: vec![SourceFile {
            path: PathBuf::from("compose.yaml"),
            text: format!("{text}\nservices: {{ web: {{ image: nginx, x-phoenix: }} }}").into(),
        }],
        project_name: project_name.map(str::to_owned),
        working_dir: PathBuf::from(working_dir),
        current_dir: PathBuf::from(working_dir),
        environment: environment(),
        profiles: Vec::new(),
    };
    let (project, diagnostics) = load(&input, &Host);
    project
        .map(|project| project.name.to_string())
        .ok_or_else(|| rendered(&diagnostics))
}

#[test]
fn the_project_is_called_as_asked_then_as_the_file_says_then_as_its_directory() {
    assert_eq!(
        named(Some("asked"), "/srv/dir", "name: file"),
        Ok("asked".to_owned())
    );
    assert_eq!(named(None, "/srv/dir", "name: file"), Ok("file".to_owned()));
    assert_eq!(named(Some(""), "/srv/dir", ""), Ok("dir".to_owned()));
    assert_eq!(named(None, "/srv/dir", "name: $TAG"), Ok("129".to_owned()));
    assert_eq!(named(None, "/srv/dir", "name: '_.'"), Err(
        "compose.yaml:1:7: error[project-name]: `_.` is not a project name\n  at: name\n  hint: begin with a lower-case letter or digit; these, `_` and `-` may follow\n".to_owned()
    ));
    assert_eq!(named(None, "/srv/_My.Shop 2", ""), Ok("myshop2".to_owned()));
    assert!(
        named(None, "/srv/...", "")
            .unwrap_err()
            .contains("gives the project no name")
    );
    assert!(
        named(None, "/", "")
            .unwrap_err()
            .contains("gives the project no name")
    );
    assert!(
        named(Some("My Shop"), "/srv", "")
            .unwrap_err()
            .contains("it comes from `-p`")
    );
}

#[test]
fn the_project_s_name_is_the_beginning_of_what_it_makes() {
    let mut input = input(
        "compose.yaml",
        "services: { web: { image: nginx, volumes: ['data:/data'], x-phoenix: } }\nvolumes: { data: }",
    );
    input.project_name = Some("asked".to_owned());
    let project = load(&input, &Host).0.unwrap();
    assert_eq!(project.networks[0].name.as_str(), "asked_default");
    assert_eq!(project.volumes[0].name.as_str(), "asked_data");
}

#[test]
fn without_a_file_there_is_nothing_to_load() {
    let mut input = input("a.yaml", "services: {}");
    input.files.clear();
    let found = rendered(&load(&input, &Host).1);
    assert!(found.starts_with("-: error[no-file]"), "{found}");
}

#[test]
fn a_home_directory_that_is_not_known_is_an_error_and_never_guessed() {
    let mut input = input(
        "compose.yaml",
        "services: { web: { image: nginx, volumes: ['~/x:/x'], x-phoenix: } }",
    );
    input.environment = BTreeMap::new();
    let found = rendered(&load(&input, &Host).1);
    assert!(found.contains("`HOME` is not set"), "{found}");
}

#[test]
fn a_phoenix_s_rules_do_not_hold_for_what_no_phoenix_uses() {
    let (project, diagnostics) = load_text(
        "services:\n  web: { image: nginx, x-phoenix: }\n  db: { image: db, privileged: true, pid: host }\n\
         networks: { a: { driver: host } }\nvolumes: { b: { driver_opts: { device: /etc } } }\n\
         x-tool: { d: 'x' }\n",
    );
    assert_eq!(rendered(&diagnostics), "");
    assert_eq!(project.unwrap().foreign[0].as_str(), "db");
}

#[test]
fn a_default_alone_makes_no_phoenix() {
    let found = problems("x-phoenix: { ttl: 1h }\nservices: { web: { image: nginx } }");
    assert!(found.contains("error[no-phoenix]"), "{found}");
}

#[test]
fn no_secret_of_the_environment_stands_in_a_message() {
    let mut input = input(
        "compose.yaml",
        "services:\n  web:\n    image: nginx\n    environment: { A: $PASSWORD }\n    env_file: unset.env\n    x-phoenix:\n      ttl: 1M\n",
    );
    input
        .environment
        .insert("PASSWORD".to_owned(), "hunter2".to_owned());
    let found = rendered(&load(&input, &Host).1);
    assert!(!found.contains("hunter2"), "{found}");
}

#[test]
fn hardening_finds_the_place_of_every_key_that_it_asks_for() {
    let text = "\
services:
  web:
    image: nginx
    user: root
    read_only: false
    cap_add: [NET_ADMIN]
    security_opt: [seccomp=unconfined]
    tmpfs: [/tmp:exec]
    deploy:
      resources:
        limits: { memory: '0', cpus: 0, pids: -1 }
    networks: { default: { ipv4_address: 10.0.0.1 } }
    scale: 2
    ports: ['80:80']
    x-phoenix: { ttl: 2s }
";
    let image = ImageFacts {
        id: ImageId::new("sha256:0"),
        user: String::new(),
        exposed_tcp: [80].into(),
        has_healthcheck: false,
        has_command: true,
        volumes: Vec::new(),
    };
    let (_, diagnostics) = resolve(&service(text), &image);
    let errors = diagnostics
        .iter()
        .filter(|one| one.severity == Severity::Error);
    let places: Vec<String> = errors.map(place_of).collect();
    assert_eq!(
        places,
        [
            "user at 4:5",
            "read_only at 5:5",
            "cap_add at 6:5",
            "security_opt at 7:5",
            "pids_limit at 11:47",
            "mem_limit at 11:27",
            "cpus at 11:38",
            "tmpfs at 8:5",
            "x-phoenix.ttl at 15:18",
            "networks at 12:5",
        ],
        "{}",
        rendered(&diagnostics)
    );
}

fn place_of(one: &Diagnostic) -> String {
    let place = one.place.as_ref().unwrap();
    let key = one.path.trim_start_matches("services.web.");
    format!("{key} at {}:{}", place.line, place.column)
}

#[test]
fn a_default_that_does_not_fit_is_found_where_it_is_written() {
    let text = "x-phoenix: { ttl: 2s }\nservices: { web: { image: nginx, x-phoenix: } }";
    let place = service(text).place("x-phoenix.ttl").unwrap();
    assert_eq!(place.to_string(), "compose.yaml:1:14");
}

#[test]
fn the_path_that_is_checked_is_the_path_that_is_mounted() {
    let text =
        "services: { web: { image: nginx, volumes: ['/srv/../srv/./data//x/:/x'], x-phoenix: } }";
    let mounts = service(text).container.mounts;
    let MountSource::Bind { path, .. } = &mounts[0].source else {
        panic!("{mounts:?}");
    };
    assert_eq!(path, "/srv/data/x");
}

#[test]
fn no_fixture_is_without_a_snapshot_and_no_snapshot_without_a_fixture() {
    let mut expected = Vec::new();
    for folder in ["invalid", "valid"] {
        each(folder, |name, _| {
            expected.push(format!("suite__compose__{folder}_{name}.snap"));
        });
    }
    expected.sort();
    let mut found: Vec<String> = std::fs::read_dir(fixtures("snapshots"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".snap.new"))
        .collect();
    found.sort();
    assert_eq!(found, expected);
}

/// A small generator of our own, so that a seed means the same in every version.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

#[test]
fn a_damaged_file_is_read_or_refused_and_never_panics() {
    const PIECES: [&str; 20] = [
        ":",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "$",
        "${",
        "'",
        "\"",
        "\n",
        "\t",
        "*a",
        "&a ",
        "<<: ",
        "!x ",
        "0",
        "-1",
        "\u{e9}",
        "99999999999999999999",
    ];
    let mut files = Vec::new();
    for folder in ["valid", "invalid"] {
        each(folder, |_, text| files.push(text));
    }
    for seed in 0..1500 {
        let mut random = Random(seed);
        let mut text = files[random.below(files.len())].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(text.len() + 1);
            let end = (at + random.below(6)).min(text.len());
            let piece = PIECES[random.below(PIECES.len())].bytes();
            text.splice(at..end, piece);
        }
        let (project, diagnostics) = load(&input("compose.yaml", text), &Host);
        let refused = diagnostics.iter().any(Diagnostic::is_error);
        assert_eq!(project.is_none(), refused, "seed {seed}");
        for one in &diagnostics {
            assert!(one.hint.is_some(), "seed {seed}: {}", one.message);
        }
    }
}
