//! What the environment means: where state is kept, and how the engine is reached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use phoenixd::config::{Environment, StateDir, Tls};
use phoenixd::spec::ProjectName;

fn environment(variables: &[(&str, &str)], is_root: bool) -> Environment {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Environment::of(variables, is_root)
}

#[test]
fn state_is_kept_in_the_host_s_place_for_root_and_in_the_user_s_own_else() {
    assert_eq!(
        environment(&[("HOME", "/root")], true).state_dir(),
        PathBuf::from("/var/lib/phoenixd")
    );
    assert_eq!(
        environment(&[("HOME", "/home/me")], false).state_dir(),
        PathBuf::from("/home/me/.local/state/phoenixd")
    );
    let xdg = [("HOME", "/home/me"), ("XDG_STATE_HOME", "/state")];
    assert_eq!(
        environment(&xdg, false).state_dir(),
        PathBuf::from("/state/phoenixd")
    );
    for is_root in [true, false] {
        let named = [
            ("PHOENIXD_STATE_DIR", "/srv/phx"),
            ("XDG_STATE_HOME", "/state"),
        ];
        assert_eq!(
            environment(&named, is_root).state_dir(),
            PathBuf::from("/srv/phx")
        );
    }
}

#[test]
fn copies_of_secrets_are_in_memory_for_root_and_in_the_state_directory_else() {
    let run = |variables: &[_], is_root| environment(variables, is_root).runtime_dir();
    assert_eq!(run(&[], true), Some(PathBuf::from("/run/phoenixd")));
    assert_eq!(run(&[("XDG_RUNTIME_DIR", "/run/user/7")], false), None);
    for is_root in [true, false] {
        let named = [("PHOENIXD_RUNTIME_DIR", "/mnt/ram")];
        assert_eq!(run(&named, is_root), Some(PathBuf::from("/mnt/ram")));
    }
}

#[test]
fn each_project_has_a_directory_of_its_own() {
    let state = StateDir::of(Path::new("/var/lib/phoenixd"), &ProjectName::new("shop"));
    assert_eq!(state.lock(), Path::new("/var/lib/phoenixd/shop/lock"));
    assert_eq!(state.socket(), Path::new("/var/lib/phoenixd/shop/api.sock"));
    assert_eq!(
        state.files_key(),
        Path::new("/var/lib/phoenixd/shop/files.key")
    );
    assert_eq!(
        state.journal(),
        Path::new("/var/lib/phoenixd/shop/journal.jsonl")
    );
}

#[test]
fn the_flag_comes_before_docker_host_and_an_empty_variable_is_none() {
    let set = environment(&[("DOCKER_HOST", "tcp://a:2375")], false);
    assert_eq!(
        set.engine(Some("tcp://b:2375")).host.as_deref(),
        Some("tcp://b:2375")
    );
    assert_eq!(set.engine(None).host.as_deref(), Some("tcp://a:2375"));
    let empty = environment(
        &[
            ("DOCKER_HOST", ""),
            ("DOCKER_API_VERSION", ""),
            ("COMPOSE_PROJECT_NAME", ""),
        ],
        false,
    );
    assert_eq!(empty.engine(None).host, None);
    assert_eq!(empty.engine(None).api_version, None);
}

#[test]
fn docker_s_variables_say_whether_and_how_tls_is_spoken() {
    assert_eq!(
        environment(&[("DOCKER_CERT_PATH", "/certs")], false)
            .engine(None)
            .tls,
        None
    );
    let verified = [
        ("DOCKER_TLS_VERIFY", "1"),
        ("DOCKER_CERT_PATH", "/certs"),
        ("HOME", "/home/me"),
    ];
    let tls = Tls {
        verify: true,
        cert_path: PathBuf::from("/certs"),
    };
    assert_eq!(environment(&verified, false).engine(None).tls, Some(tls));
    let home = [("DOCKER_TLS", "1"), ("HOME", "/home/me")];
    let tls = Tls {
        verify: false,
        cert_path: PathBuf::from("/home/me/.docker"),
    };
    assert_eq!(environment(&home, false).engine(None).tls, Some(tls));
    let config = [
        ("DOCKER_TLS_VERIFY", "1"),
        ("DOCKER_CONFIG", "/cfg"),
        ("HOME", "/home/me"),
    ];
    assert_eq!(
        environment(&config, false)
            .engine(None)
            .tls
            .map(|tls| tls.cert_path),
        Some(PathBuf::from("/cfg"))
    );
}

#[test]
fn colour_is_given_up_where_the_user_or_the_terminal_says_so() {
    assert!(environment(&[("TERM", "xterm")], false).wants_color());
    assert!(!environment(&[("NO_COLOR", "1")], false).wants_color());
    assert!(!environment(&[("TERM", "dumb")], false).wants_color());
    let variables: BTreeMap<String, String> = environment(&[("A", "b")], false).variables().clone();
    assert_eq!(variables.get("A").map(String::as_str), Some("b"));
}
