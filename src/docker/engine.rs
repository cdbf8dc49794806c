//! The trait that the supervisor speaks to an engine by: one method, one call.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;

use super::{ApiVersion, Error};
use crate::adopt::Examined;
use crate::reconcile::{Beside, DependencySeen, ExecFacts, Listing, Observed};
use crate::spec::{
    Attachment, BornAfter, ContainerId, ContainerSpec, Generation, ImageFacts, ImageId, ImageRef,
    NetworkName, NetworkSpec, ProjectName, ReplicaName, ServiceName, SpecHash, VolumeName,
    VolumeSpec,
};

/// A container engine.
///
/// Every method is one call to the API (a listing is a few), is safe to repeat, and gives up in bounded time with
/// [`Error::TimedOut`]. None of them decides or retries.
///
/// # Cancel safety
/// A call that is dropped may still have its effect on the engine: whoever drops one looks again before going on.
pub trait Engine: Send + Sync + 'static {
    /// The version of the API that is spoken with it. No call.
    fn api(&self) -> ApiVersion;

    /// Everything of the project: containers, networks and volumes that carry its label, and those networks and
    /// volumes that the scope names; and the containers of those services that docker compose runs and the scope names.
    fn list(&self, scope: &Scope) -> impl Future<Output = Result<Listing, Error>> + Send;

    /// All containers and networks, whoever made them, as far as the guard has to know of them. Of containers that are known
    /// only the names are looked at again.
    fn beside(&self, known: Beside) -> impl Future<Output = Result<Beside, Error>> + Send;

    /// The containers that docker compose made for these services of the project, but for those of `docker compose run`.
    /// They are looked at, and nothing else.
    fn dependencies(
        &self,
        project: &ProjectName,
        services: &BTreeSet<ServiceName>,
    ) -> impl Future<Output = Result<Vec<DependencySeen>, Error>> + Send;

    /// One container by its id; `None` when there is none.
    fn inspect(
        &self,
        id: &ContainerId,
    ) -> impl Future<Output = Result<Option<Observed>, Error>> + Send;

    /// One container by its exact name; `None` when there is none.
    fn find(&self, name: &str) -> impl Future<Output = Result<Option<Observed>, Error>> + Send;

    /// Makes a container, attached to the first of its networks, not started.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the name is taken; [`Error::NotFound`] when image or network is not there.
    fn create(&self, birth: &Birth) -> impl Future<Output = Result<ContainerId, Error>> + Send;

    /// Attaches a container to a further network. Done already counts as done.
    fn connect(
        &self,
        id: &ContainerId,
        attachment: &Attachment,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Takes a container off a network, running or not: what of its connections go through it stand still. Not being on it,
    /// and there being no such network or container, counts as done.
    fn disconnect(
        &self,
        id: &ContainerId,
        network: &NetworkName,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Starts a container. Running already counts as done.
    fn start(&self, id: &ContainerId) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends the container's stop signal, and SIGKILL after the grace (whole seconds, rounded up; the container's own
    /// where `None`); returns when the process has ended. Stopped already, or gone, counts as done.
    fn stop(
        &self,
        id: &ContainerId,
        grace: Option<Duration>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes a container that does not run, with its anonymous volumes. Gone already counts as done.
    fn remove(&self, id: &ContainerId) -> impl Future<Output = Result<(), Error>> + Send;

    /// The same for a container that docker compose made: its anonymous volumes stay, with the data that its replacement
    /// goes on with.
    fn remove_original(&self, id: &ContainerId) -> impl Future<Output = Result<(), Error>> + Send;

    /// Freezes every process of a container. Frozen already counts as done.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it does not run; [`Error::Refused`] where the host cannot freeze.
    fn pause(&self, id: &ContainerId) -> impl Future<Output = Result<(), Error>> + Send;

    /// Kills a container's processes, frozen or not, and removes it with its anonymous volumes. Gone already counts as done.
    fn destroy(&self, id: &ContainerId) -> impl Future<Output = Result<(), Error>> + Send;

    /// What the engine knows of a process that was started in a container: how, by whoever did; `None` when it does not
    /// know it (any more). An engine forgets one some minutes after its end, and with its container at once.
    fn exec(&self, id: &str) -> impl Future<Output = Result<Option<ExecFacts>, Error>> + Send;

    /// What there is to see of a container, in the engine's own words, for evidence: a few calls that only read. A part that
    /// cannot be had says why.
    fn evidence(&self, id: &ContainerId) -> impl Future<Output = Vec<Part>> + Send;

    /// Gives a container another name. Having it already counts as done.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the name is taken; [`Error::NotFound`] when there is no such container.
    fn rename(
        &self,
        id: &ContainerId,
        name: &str,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// A container with every field that the engine knows of it and of its image; `None` when there is none. A few
    /// calls.
    fn examine(
        &self,
        id: &ContainerId,
    ) -> impl Future<Output = Result<Option<Examined>, Error>> + Send;

    /// Makes a network of the project. Existing already counts as done.
    fn create_network(
        &self,
        project: &ProjectName,
        network: &NetworkSpec,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes a network. Gone already counts as done.
    ///
    /// # Errors
    /// [`Error::Conflict`] while a container is attached to it.
    fn remove_network(&self, name: &NetworkName) -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes a volume of the project. Existing already counts as done.
    fn create_volume(
        &self,
        project: &ProjectName,
        volume: &VolumeSpec,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes a volume. Gone already counts as done.
    ///
    /// # Errors
    /// [`Error::Conflict`] while a container uses it.
    fn remove_volume(&self, name: &VolumeName) -> impl Future<Output = Result<(), Error>> + Send;

    /// What the engine knows of an image; `None` when it does not have it. Never pulls.
    fn image(
        &self,
        image: &ImageRef,
    ) -> impl Future<Output = Result<Option<ImageFacts>, Error>> + Send;

    /// Subscribes to what happens to the project's containers. When this returns, the subscription stands: what
    /// happens from now on is hinted at, so that a listing asked for afterwards misses nothing.
    ///
    /// What happened up to `back` ago comes first, in its order, as far as the engine remembers: it keeps the last 256
    /// events of everything that it does, in memory, and has none when it was started (moby v20.10.24 to v28.5.2,
    /// `daemon/events/events.go`). Zero asks for nothing of that, and gets what happened within the same second.
    ///
    /// The stream ends, or yields one error and ends, when the connection is lost. Hints are only that: the engine
    /// drops what a slow reader does not take.
    fn subscribe(
        &self,
        project: &ProjectName,
        back: Duration,
    ) -> impl Future<
        Output = Result<impl Stream<Item = Result<Hint, Error>> + Send + Unpin + 'static, Error>,
    > + Send;

    /// The same for the containers that docker compose made for these services of the project. Health checks come as
    /// one hint for each change of the status, and not for each check.
    fn subscribe_to_dependencies(
        &self,
        project: &ProjectName,
        services: &BTreeSet<ServiceName>,
    ) -> impl Future<
        Output = Result<impl Stream<Item = Result<Hint, Error>> + Send + Unpin + 'static, Error>,
    > + Send;

    /// The same for all containers of the host, of whomever, that are connected to a network or disconnected from it.
    fn subscribe_to_networks(
        &self,
    ) -> impl Future<
        Output = Result<impl Stream<Item = Result<Hint, Error>> + Send + Unpin + 'static, Error>,
    > + Send;

    /// Where a running container is on the engine's host; `None` when it does not run, or there is none.
    fn vitals(
        &self,
        id: &ContainerId,
    ) -> impl Future<Output = Result<Option<Vitals>, Error>> + Send;
}

/// Where a running container is on the engine's host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vitals {
    /// The number of its process 1 there.
    pub pid: u32,
    /// Its writable layer there; `None` where the storage driver has none by itself.
    pub upper: Option<PathBuf>,
    /// Its root is read-only: nothing of its own writes to that layer.
    pub read_only: bool,
    /// Others of its pod are in its network.
    pub in_pod: bool,
}

/// What a listing is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scope {
    /// The project.
    pub project: ProjectName,
    /// Networks that its services need, whoever made them.
    pub networks: BTreeSet<NetworkName>,
    /// Volumes likewise.
    pub volumes: BTreeSet<VolumeName>,
    /// Also the containers of docker compose's project of that name that carry the operator's consent (`adopt`).
    pub originals: bool,
    /// Services that docker compose runs and a phoenix depends on.
    pub dependencies: BTreeSet<ServiceName>,
}

/// Everything that a container is made from.
#[derive(Clone, Debug)]
pub struct Birth {
    /// The project.
    pub project: ProjectName,
    /// Which replica.
    pub replica: ReplicaName,
    /// Goes into its labels.
    pub generation: Generation,
    /// Goes into its labels.
    pub spec_hash: SpecHash,
    /// The hardened definition.
    pub container: Arc<ContainerSpec>,
    /// Name the image by this id, where its name leads elsewhere.
    pub image: Option<ImageId>,
    /// Goes into its labels.
    pub born_after: BornAfter,
    /// The container whose network namespace it joins.
    pub joins: Option<ContainerId>,
}

/// A part of what there is to see of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// What it is, and the name of its file: `inspect.json`, `changes.json`, `top.json`, `logs`.
    pub name: &'static str,
    /// The engine's answer as it is, or why there is none. A whole answer may be some megabytes.
    pub content: Result<Vec<u8>, String>,
}

/// Something happened to one of the project's containers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hint {
    /// Which.
    pub id: ContainerId,
    /// Docker's name for what happened (`die`, `health_status: healthy`). Hostile text: an exec's command is in it.
    pub action: String,
    /// The process that was started in it, where it is about one.
    pub exec: Option<String>,
    /// The exit code, where it is about an end.
    pub exit_code: Option<i64>,
    /// The name that the container had then: after a rename the one that it was given. Hostile text.
    pub name: String,
    /// It happened before the subscription was asked for, in an earlier second.
    pub before: bool,
}
