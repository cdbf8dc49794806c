//! A connection to one engine: the version of the API that both speak, and what the engine is.
//!
//! Not here: the trait's calls (`calls`), images (`images`).

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::{SystemInfoCgroupVersionEnum as Cgroup, SystemVersion};
use hyper::http::Method;
use tracing::warn;

use super::endpoint::{ApiVersion, Endpoint};
use super::error;
use super::transport::{Wire, request};
use super::{Error, calls};
use crate::kernel;
use crate::spec::ServiceName;

/// Docker Engine 20.10, the oldest that the tests run against.
const OLDEST: ApiVersion = ApiVersion::one(41);
/// What the models of bollard 0.21.1 describe (its `API_DEFAULT_VERSION`).
const NEWEST: ApiVersion = ApiVersion::one(53);
/// bollard's own limit, in whole seconds and for the head of the answer only; every call here has a shorter one.
const BOLLARD_TIMEOUT_SECONDS: u64 = u32::MAX as u64;

/// A Docker Engine.
///
/// Cheap to clone: the clones share one pool of connections. It survives restarts of the engine: the next call
/// connects again.
#[derive(Clone)]
pub struct Docker {
    pub(super) api: bollard::Docker,
    pub(super) wire: Wire,
    pub(super) proc_root: Option<Arc<PathBuf>>,
    about: Arc<About>,
    /// Warnings of the engine that have been told.
    warned: Arc<Mutex<BTreeSet<String>>>,
}

/// What the engine said about itself when it was connected to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    /// The engine's version (`28.5.2`).
    pub version: String,
    /// The API that is spoken with it.
    pub api_version: ApiVersion,
    /// The newest API that it speaks.
    pub api_newest: ApiVersion,
    /// It is podman's imitation of the API.
    pub podman: bool,
}

/// What `docker info` says, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the engine"
)]
pub struct EngineFacts {
    /// The engine's id, which survives its restarts.
    pub id: String,
    /// The host's name.
    pub name: String,
    /// The engine's version now (`28.5.2`); it may have been upgraded since it was connected to.
    pub version: String,
    /// The release of its host's kernel; empty where the engine does not say.
    pub kernel_release: String,
    /// 1 or 2; `None` where the engine does not say.
    pub cgroup_version: Option<u8>,
    /// The default seccomp profile is there.
    pub seccomp: bool,
    /// `AppArmor` is there.
    pub apparmor: bool,
    /// `SELinux` is there.
    pub selinux: bool,
    /// The engine does not run as root.
    pub rootless: bool,
    /// Container users are other users on the host.
    pub userns_remap: bool,
    /// Where the engine keeps its data.
    pub root_dir: PathBuf,
    /// Containers survive the engine's restart.
    pub live_restore: bool,
    /// The log driver of containers that name none.
    pub log_driver: String,
    /// The runtime of containers that name none.
    pub runtime: String,
    /// Processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

impl Docker {
    /// Connects, asks for the engine's version and settles on the newest API that both know, within 10 s.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the certificates cannot be read or no version of the API fits;
    /// [`Error::Unavailable`] and [`Error::TimedOut`] when nothing answers.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, Error> {
        let wire = Wire::new(endpoint)?;
        let answer: SystemVersion = within("version", calls::LOOK, async {
            let (_, body) = wire
                .exchange("version", request(Method::GET, "/version")?)
                .await?;
            serde_json::from_slice(&body).map_err(|_| Error::Malformed { field: "version" })
        })
        .await?;
        let about = about(&answer, endpoint.api_version)?;
        let wire = wire.speaking(about.api_version);
        let transport = wire.clone();
        let api = bollard::Docker::connect_with_custom_transport(
            move |request: bollard::BollardRequest| {
                let wire = transport.clone();
                async move { wire.send(request).await }
            },
            Some("http://docker"),
            BOLLARD_TIMEOUT_SECONDS,
            bollard::API_DEFAULT_VERSION,
        )
        .map_err(|error| error::translate("connect", wire.address(), error))?;
        Ok(Self {
            api,
            wire,
            proc_root: endpoint.proc_root.clone().map(Arc::new),
            about: Arc::new(about),
            warned: Arc::default(),
        })
    }

    /// What the engine said about itself when it was connected to.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The version of the API that is spoken with it.
    pub fn api_version(&self) -> ApiVersion {
        self.about.api_version
    }

    /// Where the engine is.
    pub fn address(&self) -> &str {
        self.wire.address()
    }

    /// Whether the engine answers, within 10 s. An event stream may be silent for hours; whoever reads one asks with
    /// this whether its engine still lives.
    ///
    /// # Errors
    /// That of the failed call.
    pub async fn ping(&self) -> Result<(), Error> {
        let asked = async {
            self.wire
                .exchange("ping", request(Method::GET, "/_ping")?)
                .await
        };
        within("ping", calls::LOOK, asked).await.map(|_| ())
    }

    /// What `docker info` says.
    ///
    /// # Errors
    /// That of the failed call, [`Error::Malformed`] without id or data directory.
    pub async fn info(&self) -> Result<EngineFacts, Error> {
        let info = self.call("info", calls::CHANGE, self.api.info()).await?;
        let options = info.security_options.unwrap_or_default();
        // `name=seccomp,profile=builtin` (Docker Engine API 1.51, `SystemInfo.SecurityOptions`).
        let has = |name: &str| {
            options.iter().any(|option| {
                option
                    .split(',')
                    .any(|part| part.strip_prefix("name=") == Some(name))
            })
        };
        Ok(EngineFacts {
            id: info.id.ok_or(Error::Malformed { field: "ID" })?,
            name: info.name.unwrap_or_default(),
            version: info.server_version.unwrap_or_default(),
            kernel_release: info.kernel_version.unwrap_or_default(),
            cgroup_version: match info.cgroup_version {
                Some(Cgroup::_1) => Some(1),
                Some(Cgroup::_2) => Some(2),
                Some(Cgroup::EMPTY) | None => None,
            },
            seccomp: has("seccomp"),
            apparmor: has("apparmor"),
            selinux: has("selinux"),
            rootless: has("rootless"),
            userns_remap: has("userns"),
            root_dir: info
                .docker_root_dir
                .map(PathBuf::from)
                .ok_or(Error::Malformed {
                    field: "DockerRootDir",
                })?,
            live_restore: info.live_restore_enabled.unwrap_or(false),
            log_driver: info.logging_driver.unwrap_or_default(),
            runtime: info.default_runtime.unwrap_or_default(),
            cpus: number(info.ncpu),
            memory_bytes: number(info.mem_total),
        })
    }

    /// Logs what the engine said about a create (`Your kernel does not support … discarded`), each of it once: births
    /// are many and alike.
    pub(super) fn tell(&self, service: &ServiceName, warnings: &[String]) {
        for warning in warnings {
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            if warned.insert(format!("{service} {warning}")) {
                warn!(%service, "the engine warns: {warning}");
            }
        }
    }

    /// Why the engine cannot see files of this host, as far as that can be told without asking it for a container;
    /// `None` where it seems to be at home here. A socket may be forwarded from another host, and Docker Desktop's
    /// engine lives in a virtual machine: both have another kernel.
    pub fn sees_no_files(&self, facts: &EngineFacts) -> Option<String> {
        let Some(proc_root) = &self.proc_root else {
            return Some("it is reached over TCP".to_owned());
        };
        let own = kernel::release(proc_root)?;
        let theirs = facts.kernel_release.as_str();
        (!theirs.is_empty() && theirs != own)
            .then(|| format!("its host runs the kernel {theirs}, this one {own}"))
    }

    /// One call of bollard's with its limit.
    pub(super) async fn call<T>(
        &self,
        call: &'static str,
        limit: Duration,
        asked: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, Error> {
        within(call, limit, async {
            asked
                .await
                .map_err(|error| error::translate(call, self.wire.address(), error))
        })
        .await
    }
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Docker")
            .field("address", &self.wire.address())
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}

/// A call with its limit.
pub(super) async fn within<T>(
    call: &'static str,
    limit: Duration,
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, asked)
        .await
        .unwrap_or(Err(Error::TimedOut { call, after: limit }))
}

fn number<T: TryFrom<i64> + Default>(value: Option<i64>) -> T {
    value
        .and_then(|value| T::try_from(value).ok())
        .unwrap_or_default()
}

fn about(answer: &SystemVersion, wanted: Option<ApiVersion>) -> Result<About, Error> {
    let read = |text: &Option<String>, field| match text {
        None => Err(Error::Malformed { field }),
        Some(text) => text
            .parse::<ApiVersion>()
            .map_err(|_| Error::Malformed { field }),
    };
    let newest = read(&answer.api_version, "ApiVersion")?;
    let oldest = match &answer.min_api_version {
        Some(text) if !text.is_empty() => read(&answer.min_api_version, "MinAPIVersion")?,
        Some(_) | None => OLDEST.min(newest),
    };
    Ok(About {
        version: answer.version.clone().unwrap_or_default(),
        api_version: negotiate(oldest, newest, wanted)?,
        api_newest: newest,
        podman: answer
            .components
            .iter()
            .flatten()
            .any(|component| component.name == "Podman Engine"),
    })
}

/// The API to speak with an engine that knows `oldest` to `newest`.
fn negotiate(
    oldest: ApiVersion,
    newest: ApiVersion,
    wanted: Option<ApiVersion>,
) -> Result<ApiVersion, Error> {
    let unusable = |message, hint| Err(Error::Unusable { message, hint });
    if newest < OLDEST {
        return unusable(
            format!(
                "the engine is too old: it speaks API {newest}, phoenixd needs {OLDEST} or newer"
            ),
            Some("install Docker Engine 20.10 or newer"),
        );
    }
    if oldest > NEWEST {
        return unusable(
            format!(
                "the engine is too new: it wants API {oldest} or newer, this phoenixd knows none above {NEWEST}"
            ),
            Some("install a newer phoenixd"),
        );
    }
    let Some(wanted) = wanted else {
        return Ok(newest.min(NEWEST));
    };
    let (lowest, highest) = (oldest.max(OLDEST), newest.min(NEWEST));
    if wanted < lowest || wanted > highest {
        return unusable(
            format!(
                "API {wanted} was asked for; the engine and this phoenixd both know {lowest} to {highest}"
            ),
            Some("unset DOCKER_API_VERSION, and the newest that both know is used"),
        );
    }
    Ok(wanted)
}
