//! Docker Compose itself: what its users run beside phoenixd.
//!
//! `PHOENIXD_COMPOSE` names the binary; else it is the one that came with the private engine 28 (`scripts/engine`), else
//! an installed plugin. Version 2 is needed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Where the plugin is looked for, after the private engine's.
const PLUGINS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins/docker-compose",
    "/usr/local/libexec/docker/cli-plugins/docker-compose",
    "/usr/lib/docker/cli-plugins/docker-compose",
    "/usr/libexec/docker/cli-plugins/docker-compose",
];

/// What a command of compose said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    /// Progress and warnings.
    pub(crate) stderr: String,
}

/// Runs compose on the Compose file of a folder, for a project, on the engine of the environment.
pub(crate) fn compose(folder: &Path, project: &str, arguments: &[&str]) -> Said {
    let output = Command::new(binary())
        .args(["--ansi", "never", "--project-name", project])
        // Named as well, or `stop`, `down` and others go by the labels of the project alone, whatever the profile.
        .args(["--file", "compose.yaml"])
        .args(arguments)
        .current_dir(folder)
        .env_remove("COMPOSE_PROJECT_NAME")
        .env_remove("COMPOSE_FILE")
        .env_remove("COMPOSE_PROFILES")
        .stdin(Stdio::null())
        .output()
        .expect("compose runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

impl Said {
    /// It ended well, and warned of nothing.
    #[track_caller]
    pub(crate) fn without_complaint(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        for word in [
            "level=warning",
            "WARN",
            "orphan",
            "already exists",
            "Recreat",
        ] {
            assert!(!self.stderr.contains(word), "`{word}`: {self:#?}");
        }
        self
    }
}

fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let engines =
            set("PHOENIXD_ENGINE_DIR").unwrap_or_else(|| "/var/tmp/phoenixd-engine".into());
        let private = "28/cache/root/usr/libexec/docker/cli-plugins/docker-compose";
        set("PHOENIXD_COMPOSE")
            .into_iter()
            .chain([engines.join(private)])
            .chain(PLUGINS.map(PathBuf::from))
            .find(|path| path.is_file())
            .unwrap_or_else(|| {
                panic!(
                    "these tests need docker compose v2: `scripts/engine up 28` unpacks it, or \
                     name one in PHOENIXD_COMPOSE"
                )
            })
    })
}

/// What compose 2.40.3 does where its `up` includes a phoenix: its profile is active, or it has none.
mod up_with_the_service {
    use phoenixd::docker::{Birth, Engine};
    use phoenixd::spec::{
        Attachment, BornAfter, ComposeMarks, ContainerId, ContainerSpec, Generation, NetworkMode,
        NetworkName, NetworkSpec, ReplicaName, Serial, ServiceName, SpecHash,
    };
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use tempfile::TempDir;

    use super::{Said, compose};
    use crate::conformance::Fixture;
    use crate::fixture::{self, Real};

    /// A project of one service that is a phoenix.
    struct Project {
        real: Real,
        folder: TempDir,
    }

    impl Project {
        async fn new() -> Self {
            let real = fixture::docker().await;
            let folder = TempDir::new().expect("a folder");
            let file = format!("services: {{ web: {{ image: \"{}\" }} }}\n", real.image());
            std::fs::write(folder.path().join("compose.yaml"), file).expect("write the file");
            let network = NetworkSpec {
                key: "default".to_owned(),
                name: NetworkName::new(format!("{}_default", real.project())),
                external: false,
                driver: None,
                driver_opts: BTreeMap::new(),
                internal: false,
                attachable: false,
                enable_ipv4: None,
                enable_ipv6: None,
                ipam_driver: None,
                ipam_pools: Vec::new(),
                labels: BTreeMap::new(),
                place: None,
            };
            real.docker
                .create_network(&real.project(), &network)
                .await
                .expect("create network");
            Self { real, folder }
        }

        fn compose(&self, arguments: &[&str]) -> Said {
            compose(self.folder.path(), self.real.project().as_str(), arguments)
        }

        /// A running replica, as phoenixd makes it.
        async fn replica(&self, config_hash: Option<String>) -> ContainerId {
            let image = self.real.docker.image(&self.real.image()).await;
            let image = image.expect("ask for the image").expect("the image");
            let birth = Birth {
                project: self.real.project(),
                replica: ReplicaName::new(ServiceName::new("web"), Serial(7)),
                generation: Generation(1),
                spec_hash: SpecHash::new("abc"),
                container: Arc::new(ContainerSpec {
                    network: NetworkMode::Networks(vec![Attachment {
                        network: NetworkName::new(format!("{}_default", self.real.project())),
                        aliases: vec!["web".to_owned()],
                        ipv4: None,
                        ipv6: None,
                        link_local_ips: Vec::new(),
                        driver_opts: BTreeMap::new(),
                        gw_priority: None,
                    }]),
                    read_only: Some(true),
                    compose: Some(ComposeMarks {
                        config_hash,
                        image: Some(image.id),
                        files: vec![self.folder.path().join("compose.yaml")],
                        working_dir: self.folder.path().to_owned(),
                        depends_on: Vec::new(),
                    }),
                    ..ContainerSpec::of_image(self.real.image())
                }),
                image: None,
                born_after: BornAfter::default(),
                joins: None,
            };
            let id = self.real.docker.create(&birth).await.expect("create");
            self.real.docker.start(&id).await.expect("start");
            id
        }
    }

    impl Drop for Project {
        fn drop(&mut self) {
            // What compose made; the rest goes with `real`.
            drop(self.compose(&["down", "--remove-orphans"]));
        }
    }

    #[tokio::test]
    async fn a_replica_with_compose_s_own_hash_is_up_to_date() {
        let project = Project::new().await;
        let hashes = project.compose(&["config", "--hash", "web"]).stdout;
        let hash = hashes.trim().strip_prefix("web ").expect("a hash");
        let id = project.replica(Some(hash.to_owned())).await;
        let said = project.compose(&["up", "--detach"]).without_complaint();
        assert!(said.stderr.contains("web-7  Running"), "{said:#?}");
        let seen = project.real.docker.inspect(&id).await.expect("inspect");
        assert!(seen.is_some(), "it is the same: {said:#?}");
    }

    #[tokio::test]
    async fn a_replica_with_another_hash_is_replaced_by_a_container_of_compose_s() {
        let project = Project::new().await;
        let id = project.replica(None).await;
        let said = project.compose(&["up", "--detach"]);
        assert!(said.stderr.contains("web-7  Recreated"), "{said:#?}");
        let seen = project.real.docker.inspect(&id).await.expect("inspect");
        assert_eq!(seen, None, "{said:#?}");
    }
}
