//! A container engine over the simulated host: every call takes simulated time, and may fail before its effect, after
//! it, or long before it.

use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use futures::Stream;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use phoenixd::adopt::{self, Examined, Value};
use phoenixd::docker::{ApiVersion, Birth, Engine, Error, Hint, Part, Scope, Vitals, read_value};
use phoenixd::reconcile::{Beside, DependencySeen, ExecFacts, Identity, Listing, Observed, Time};
use phoenixd::spec::{
    Attachment, ContainerId, FileDigest, FileMount, ImageFacts, ImageId, ImageRef, MountSource,
    NetworkName, NetworkSpec, ProjectName, ServiceName, VolumeName, VolumeSpec,
};

use super::host::{Container, Happening, Host, Refusal};
use super::replay::{self, Memory, What};
use super::rng::Rng;
use super::setup::Defect;

/// The only image that there is.
pub(super) const IMAGE: &str = "image";
/// How long the client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The engine, shared by the supervisor's calls and the simulation.
#[derive(Clone, Debug)]
pub(super) struct SimEngine(Arc<Mutex<Shared>>);

/// What the calls share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) host: Host,
    pub(super) project: ProjectName,
    /// It answers nothing until then.
    pub(super) down_until: Time,
    /// In thousandths of the calls.
    pub(super) faults: CallFaults,
    /// The flight that is polled now.
    pub(super) flight: u64,
    /// When which flight is to be polled again.
    pub(super) wakes: Vec<(Time, u64)>,
    /// Calls take no time: for tests that do not simulate.
    pub(super) instant: bool,
    /// An evidence is never answered.
    pub(super) evidence_hangs: bool,
    /// What it remembers of what happened.
    pub(super) memory: Memory,
    /// What became of the calls.
    pub(super) faulted: u64,
    pub(super) subscribers: Vec<(About, UnboundedSender<Result<Hint, Error>>)>,
    /// Containers that were made through the API, in order.
    pub(super) births: VecDeque<ContainerId>,
    rng: Rng,
}

/// Whose events a subscriber wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum About {
    Project,
    Dependencies(BTreeSet<ServiceName>),
}

/// How often calls fail, in thousandths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct CallFaults {
    /// Refused, without an effect.
    pub(super) refused: u64,
    /// The connection breaks before the effect.
    pub(super) before: u64,
    /// The connection breaks after the effect.
    pub(super) after: u64,
    /// The effect comes after the client has given up.
    pub(super) late: u64,
    /// The call takes seconds.
    pub(super) slow: u64,
}

/// What a call does on the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    Create {
        name: String,
        identity: Box<Identity>,
        image: Option<ImageId>,
        network: Option<NetworkName>,
        volumes: BTreeSet<VolumeName>,
        marked: Option<String>,
        files: BTreeSet<FileDigest>,
        joins: Option<ContainerId>,
    },
    Connect(ContainerId, NetworkName),
    Disconnect(ContainerId, NetworkName),
    Start(ContainerId),
    Remove(ContainerId),
    Freeze(ContainerId),
    Destroy(ContainerId),
    RemoveOriginal(ContainerId),
    Rename(ContainerId, String),
    CreateNetwork(NetworkName),
    RemoveNetwork(NetworkName),
    CreateVolume(VolumeName),
    RemoveVolume(VolumeName),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Good,
    Refused,
    Before,
    After,
    Late,
}

impl SimEngine {
    pub(super) fn new(seed: u64, project: ProjectName) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            host: Host::new(seed),
            project,
            down_until: Time::BOOT,
            faults: CallFaults::default(),
            flight: 0,
            wakes: Vec::new(),
            instant: false,
            evidence_hangs: false,
            memory: Memory::default(),
            faulted: 0,
            subscribers: Vec::new(),
            births: VecDeque::new(),
            rng: Rng::stream(seed, "engine"),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap()
    }

    pub(super) fn now(&self) -> Time {
        self.lock().host.now
    }

    /// Lets simulated time pass.
    async fn pass(&self, span: Duration) {
        let until = {
            let mut shared = self.lock();
            let until = shared.host.now + span;
            if shared.instant {
                shared.host.now = until;
                return;
            }
            let flight = shared.flight;
            shared.wakes.push((until, flight));
            until
        };
        poll_fn(|_| {
            if self.lock().host.now >= until {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// The way to the engine: time, and the fate of the call.
    async fn arrive(&self, mutates: bool) -> Result<Fate, Error> {
        let (takes, fate) = self.lock().draw(mutates);
        self.pass(takes).await;
        let (unreachable, silent) = {
            let mut shared = self.lock();
            let unreachable = shared.host.now < shared.down_until;
            (unreachable, unreachable && shared.rng.chance(300))
        };
        if silent {
            self.pass(TIMEOUT).await;
            return Err(Error::TimedOut {
                call: "call",
                after: TIMEOUT,
            });
        }
        if unreachable || fate == Fate::Before {
            return Err(broken("refused"));
        }
        Ok(fate)
    }

    async fn call(&self, effect: Effect) -> Result<Option<ContainerId>, Error> {
        let fate = self.arrive(true).await?;
        match fate {
            Fate::Refused => {
                return Err(Error::Refused {
                    status: 500,
                    message: "internal error".to_owned(),
                });
            }
            Fate::Late => {
                self.lock().postpone(effect);
                self.pass(TIMEOUT).await;
                return Err(Error::TimedOut {
                    call: "call",
                    after: TIMEOUT,
                });
            }
            Fate::Good | Fate::Before | Fate::After => {}
        }
        let done = self.lock().effect(&effect);
        self.lock().tell();
        let back = self
            .lock()
            .rng
            .span(Duration::from_micros(200), Duration::from_millis(5));
        self.pass(back).await;
        if fate == Fate::After {
            return Err(broken("reset after the request"));
        }
        done.map_err(refusal)
    }

    async fn ask<T: Send>(&self, answer: impl FnOnce(&Host) -> T + Send) -> Result<T, Error> {
        match self.arrive(false).await? {
            Fate::After => return Err(broken("reset")),
            Fate::Good | Fate::Refused | Fate::Before | Fate::Late => {}
        }
        let told = answer(&self.lock().host);
        let back = self
            .lock()
            .rng
            .span(Duration::from_micros(200), Duration::from_millis(3));
        self.pass(back).await;
        Ok(told)
    }
}

impl Shared {
    /// How long the way takes, and what becomes of the call.
    fn draw(&mut self, mutates: bool) -> (Duration, Fate) {
        let faults = self.faults;
        let slow = self.rng.chance(faults.slow);
        let takes = match (slow, mutates) {
            (true, _) => self.rng.ms(500, 8000),
            (false, true) => self.rng.ms(1, 60),
            (false, false) => self
                .rng
                .span(Duration::from_micros(200), Duration::from_millis(4)),
        };
        let drawn = self.rng.below(1000);
        let fates = [
            (faults.before, Fate::Before),
            (faults.after, Fate::After),
            (if mutates { faults.refused } else { 0 }, Fate::Refused),
            (if mutates { faults.late } else { 0 }, Fate::Late),
        ];
        let mut bound = 0;
        for (permille, fate) in fates {
            bound += permille;
            if drawn < bound {
                self.faulted += 1;
                return (takes, fate);
            }
        }
        (takes, Fate::Good)
    }

    /// Tells the subscribers what happened; the simulation takes the hints itself, in its own time.
    pub(super) fn tell(&mut self) {
        if !self.instant {
            return;
        }
        for (id, action) in std::mem::take(&mut self.host.hints) {
            self.remember(&id, What::of(action, &self.host, &id));
            let container = self.host.containers.get(&id);
            let of_compose = self.host.of_compose.contains(&id);
            let service = container.and_then(|container| container.compose.as_ref());
            let hint = Hint {
                exit_code: None,
                name: container.map_or_else(String::new, |it| it.name.clone()),
                id,
                action: action.to_owned(),
                exec: None,
                before: false,
            };
            self.subscribers.retain(|(about, subscriber)| {
                let wants = match about {
                    About::Project => !of_compose,
                    About::Dependencies(services) => {
                        of_compose && service.is_none_or(|of| services.contains(&of.service))
                    }
                };
                !wants || subscriber.unbounded_send(Ok(hint.clone())).is_ok()
            });
        }
    }

    /// An engine whose calls take no time and never fail.
    pub(super) fn make_instant(&mut self) {
        self.instant = true;
    }

    /// It takes effect when nobody waits for it any more.
    fn postpone(&mut self, effect: Effect) {
        let at = self.host.now + TIMEOUT + self.rng.ms(0, 10_000);
        self.host
            .timers
            .push((at, Happening::Late(Box::new(effect))));
    }

    fn create(&mut self, effect: &Effect) -> Result<ContainerId, Refusal> {
        let Effect::Create {
            name,
            identity,
            image,
            network,
            volumes,
            marked,
            files,
            joins,
        } = effect
        else {
            return Err(Refusal::Refused("it is no create".to_owned()));
        };
        let host = &mut self.host;
        host.mutations += 1;
        let mut draft = host.draft(name.clone(), Some(Identity::clone(identity)));
        draft
            .networks
            .extend(network.iter().map(|network| (network.clone(), None)));
        draft.volumes.clone_from(volumes);
        draft.marked.clone_from(marked);
        draft.files.clone_from(files);
        draft.joined.clone_from(joins);
        draft.image = image.clone().unwrap_or(draft.image);
        let id = host.create(draft)?;
        self.births.push_back(id.clone());
        Ok(id)
    }

    /// Does it, now.
    pub(super) fn effect(&mut self, effect: &Effect) -> Result<Option<ContainerId>, Refusal> {
        let project = self.project.clone();
        let host = &mut self.host;
        match effect {
            Effect::Create { .. } => return self.create(effect).map(Some),
            Effect::Connect(id, network) => {
                host.touch("connect", id, &project);
                host.connect(id, network)?;
            }
            Effect::Disconnect(id, network) => {
                host.touch("disconnect", id, &project);
                host.disconnect(id, network);
            }
            Effect::Start(id) => {
                host.touch("start", id, &project);
                host.start(id)?;
            }
            Effect::Remove(id) => {
                host.touch("remove", id, &project);
                if host.containers.get(id).is_some_and(Container::is_original) {
                    host.touched = Some("the volumes of an original".to_owned());
                }
                host.remove(id)?;
            }
            Effect::Freeze(id) => {
                host.touch("pause", id, &project);
                host.freeze(id)?;
            }
            Effect::Destroy(id) => {
                host.touch("destroy", id, &project);
                host.vanish(id);
            }
            Effect::RemoveOriginal(id) => {
                host.touch("remove", id, &project);
                host.remove(id)?;
            }
            Effect::Rename(id, name) => {
                host.touch("rename", id, &project);
                host.rename(id, name)?;
            }
            Effect::CreateNetwork(name) => {
                host.mutations += 1;
                host.add_network(name.clone(), true);
            }
            Effect::RemoveNetwork(name) => {
                host.mutations += 1;
                host.remove_network(name)?;
            }
            Effect::CreateVolume(name) => {
                host.mutations += 1;
                host.add_volume(name.clone(), true);
            }
            Effect::RemoveVolume(name) => {
                host.mutations += 1;
                host.remove_volume(name)?;
            }
        }
        Ok(None)
    }
}

impl Engine for SimEngine {
    fn api(&self) -> ApiVersion {
        ApiVersion::one(51)
    }

    async fn beside(&self, known: Beside) -> Result<Beside, Error> {
        // There is no guard in the simulation.
        Ok(known)
    }

    async fn list(&self, scope: &Scope) -> Result<Listing, Error> {
        self.ask(|host| host.listing(scope)).await
    }

    async fn dependencies(
        &self,
        _: &ProjectName,
        services: &BTreeSet<ServiceName>,
    ) -> Result<Vec<DependencySeen>, Error> {
        self.ask(|host| host.dependencies(services)).await
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Observed>, Error> {
        self.ask(|host| host.observe(id)).await
    }

    async fn find(&self, name: &str) -> Result<Option<Observed>, Error> {
        self.ask(|host| host.by_name(name).and_then(|found| host.observe(&found.id)))
            .await
    }

    async fn create(&self, birth: &Birth) -> Result<ContainerId, Error> {
        let volume = |mount: &phoenixd::spec::Mount| match &mount.source {
            MountSource::Volume { name, .. } => Some(name.clone()),
            MountSource::Bind { .. }
            | MountSource::Anonymous { .. }
            | MountSource::Image { .. } => None,
        };
        if birth.image.is_none() && birth.container.image.as_str() != IMAGE {
            return Err(Error::NotFound {
                message: format!("no such image: {}", birth.container.image),
            });
        }
        let effect = Effect::Create {
            name: birth.replica.container_name(&birth.project),
            identity: Box::new(Identity {
                replica: birth.replica.clone(),
                generation: birth.generation,
                spec_hash: birth.spec_hash.clone(),
                reach: None,
                adopted: handed_on(birth),
                born_after: birth.born_after.clone(),
            }),
            marked: handed_on(birth),
            image: birth.image.clone(),
            network: birth
                .container
                .attachments()
                .first()
                .map(|first| first.network.clone()),
            volumes: birth.container.mounts.iter().filter_map(volume).collect(),
            files: birth
                .container
                .files
                .iter()
                .filter_map(FileMount::digest)
                .collect(),
            joins: birth.joins.clone(),
        };
        let made = self.call(effect).await?;
        made.ok_or(Error::Malformed { field: "Id" })
    }

    async fn connect(&self, id: &ContainerId, attachment: &Attachment) -> Result<(), Error> {
        self.call(Effect::Connect(id.clone(), attachment.network.clone()))
            .await
            .map(drop)
    }

    async fn disconnect(&self, id: &ContainerId, network: &NetworkName) -> Result<(), Error> {
        self.call(Effect::Disconnect(id.clone(), network.clone()))
            .await
            .map(drop)
    }

    async fn start(&self, id: &ContainerId) -> Result<(), Error> {
        self.call(Effect::Start(id.clone())).await.map(drop)
    }

    async fn stop(&self, id: &ContainerId, grace: Option<Duration>) -> Result<(), Error> {
        let fate = self.arrive(true).await?;
        if fate == Fate::Refused {
            return Err(Error::Refused {
                status: 500,
                message: "cannot kill".to_owned(),
            });
        }
        let ends = {
            let mut shared = self.lock();
            let project = shared.project.clone();
            shared.host.touch("stop", id, &project);
            shared
                .host
                .stop(id, grace.unwrap_or(Duration::from_secs(10)))
        };
        let now = self.now();
        if let Some(ends) = ends {
            self.pass(ends.since(now) + Duration::from_micros(1)).await;
        }
        if self.lock().instant {
            self.lock().host.die(id, 0);
            self.lock().tell();
        }
        match fate {
            Fate::After => Err(broken("reset while it stopped")),
            Fate::Late => Err(Error::TimedOut {
                call: "stop",
                after: TIMEOUT,
            }),
            Fate::Good | Fate::Refused | Fate::Before => Ok(()),
        }
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        self.call(Effect::Remove(id.clone())).await.map(drop)
    }

    async fn remove_original(&self, id: &ContainerId) -> Result<(), Error> {
        self.call(Effect::RemoveOriginal(id.clone()))
            .await
            .map(drop)
    }

    async fn pause(&self, id: &ContainerId) -> Result<(), Error> {
        self.call(Effect::Freeze(id.clone())).await.map(drop)
    }

    async fn destroy(&self, id: &ContainerId) -> Result<(), Error> {
        self.call(Effect::Destroy(id.clone())).await.map(drop)
    }

    /// Nobody executes anything here: touches are told as they are.
    async fn exec(&self, _: &str) -> Result<Option<ExecFacts>, Error> {
        self.ask(|_| None).await
    }

    async fn evidence(&self, id: &ContainerId) -> Vec<Part> {
        if self.lock().evidence_hangs {
            std::future::pending::<()>().await;
        }
        let inspected = self.ask(|host| host.containers.contains_key(id)).await;
        let content = match inspected {
            Ok(true) => Ok(b"{}".to_vec()),
            Ok(false) => Err("no such container".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        vec![Part {
            name: "inspect.json",
            content,
        }]
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<(), Error> {
        self.call(Effect::Rename(id.clone(), name.to_owned()))
            .await
            .map(drop)
    }

    async fn examine(&self, id: &ContainerId) -> Result<Option<Examined>, Error> {
        self.ask(|host| host.containers.get(id).map(examined)).await
    }

    async fn create_network(&self, _: &ProjectName, network: &NetworkSpec) -> Result<(), Error> {
        self.call(Effect::CreateNetwork(network.name.clone()))
            .await
            .map(drop)
    }

    async fn remove_network(&self, name: &NetworkName) -> Result<(), Error> {
        self.call(Effect::RemoveNetwork(name.clone()))
            .await
            .map(drop)
    }

    async fn create_volume(&self, _: &ProjectName, volume: &VolumeSpec) -> Result<(), Error> {
        self.call(Effect::CreateVolume(volume.name.clone()))
            .await
            .map(drop)
    }

    async fn remove_volume(&self, name: &VolumeName) -> Result<(), Error> {
        self.call(Effect::RemoveVolume(name.clone()))
            .await
            .map(drop)
    }

    async fn image(&self, image: &ImageRef) -> Result<Option<ImageFacts>, Error> {
        self.ask(|_| {
            (image.as_str() == IMAGE).then(|| ImageFacts {
                id: ImageId::new("sha256:0"),
                user: "65534".to_owned(),
                exposed_tcp: BTreeSet::new(),
                has_healthcheck: false,
                has_command: true,
                volumes: Vec::new(),
            })
        })
        .await
    }

    /// Its containers are on no host.
    async fn vitals(&self, _: &ContainerId) -> Result<Option<Vitals>, Error> {
        Ok(None)
    }

    async fn subscribe(
        &self,
        _: &ProjectName,
        back: Duration,
    ) -> Result<impl Stream<Item = Result<Hint, Error>> + Send + Unpin + 'static, Error> {
        self.ask(|_| ()).await?;
        let (sender, receiver) = unbounded();
        let mut shared = self.lock();
        let now = shared.host.now;
        let again = shared.memory.since(replay::since(now, back));
        for said in again.iter().filter(|said| said.is_ours()) {
            drop(sender.unbounded_send(Ok(said.hint(now))));
        }
        shared.subscribers.push((About::Project, sender));
        Ok(receiver)
    }

    async fn subscribe_to_dependencies(
        &self,
        _: &ProjectName,
        services: &BTreeSet<ServiceName>,
    ) -> Result<impl Stream<Item = Result<Hint, Error>> + Send + Unpin + 'static, Error> {
        let (sender, receiver) = unbounded();
        let about = About::Dependencies(services.clone());
        self.lock().subscribers.push((about, sender));
        Ok(receiver)
    }

    async fn subscribe_to_networks(
        &self,
    ) -> Result<impl Stream<Item = Result<Hint, Error>> + Send + Unpin + 'static, Error> {
        // Nobody of this host does such a thing by hand.
        Ok(futures::stream::pending())
    }
}

/// The name that it is to take over, as its marks say.
fn handed_on(birth: &Birth) -> Option<String> {
    let marks = read_value(birth.container.labels.get(adopt::ADOPTED)?);
    marks.at(&["name"]).as_text().map(str::to_owned)
}

/// A few fields of a container, enough to be compared.
fn examined(container: &Container) -> Examined {
    let differs = container.quality.fault == Some(Defect::Differs) && !container.is_original();
    let odd = if differs { "1" } else { "0" };
    let name = container.marked.clone().unwrap_or_default();
    Examined {
        inspect: Value::map_of([
            ("Id", Value::text(container.id.as_str())),
            ("Name", Value::text(format!("/{}", container.name))),
            (
                "HostConfig",
                Value::map_of([("OomScoreAdj", Value::Number(odd.to_owned()))]),
            ),
        ]),
        marks: Value::map_of([("name", Value::text(name))]),
        ..Examined::default()
    }
}

fn broken(message: &str) -> Error {
    Error::Unavailable {
        address: "unix:///sim".to_owned(),
        message: message.to_owned(),
    }
}

fn refusal(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NotFound(message) => Error::NotFound { message },
        Refusal::Conflict(message) => Error::Conflict { message },
        Refusal::Refused(message) => Error::Refused {
            status: 500,
            message,
        },
    }
}
