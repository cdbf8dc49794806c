//! [`Engine`] by bollard: each method one call, with its limit, and with Docker's ways of saying "done already".
//!
//! Not here: listings (`list`), events (`events`), what is sent for a container (`body`), a network or a volume
//! (`resources`).

use std::collections::BTreeSet;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, NetworkConnectRequest, NetworkDisconnectRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
    RemoveVolumeOptions, RenameContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use futures::Stream;

use super::convert::{self, Vantage};
use super::endpoint::ApiVersion;
use super::{
    Birth, Docker, Engine, Error, Hint, Part, Scope, Vitals, beside, body, error, events, examine,
    exec, list, needs, resources,
};
use crate::adopt::Examined;
use crate::reconcile::{Beside, DependencySeen, ExecFacts, Listing, Observed};
use crate::spec::{
    Attachment, ContainerId, ImageFacts, ImageRef, NetworkName, NetworkSpec, ProjectName,
    ServiceName, VolumeName, VolumeSpec,
};

/// For looking: an inspection takes 0.7 ms, a listing a few.
pub(super) const LOOK: Duration = Duration::from_secs(10);
/// For small changes: networks, volumes, removals.
pub(super) const CHANGE: Duration = Duration::from_secs(30);
/// For create and start: 0.3 s on an idle engine, seconds on a crowded one.
const BIRTH: Duration = Duration::from_mins(1);
/// What the engine may take beyond the grace of a stop.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// The engine's grace where a container has none of its own (moby v28.5.2, `container.DefaultStopTimeout`).
const DEFAULT_GRACE_SECONDS: i64 = 10;

impl Engine for Docker {
    fn api(&self) -> ApiVersion {
        self.api_version()
    }

    async fn list(&self, scope: &Scope) -> Result<Listing, Error> {
        list::list(self, scope).await
    }

    async fn beside(&self, known: Beside) -> Result<Beside, Error> {
        beside::beside(self, known).await
    }

    async fn dependencies(
        &self,
        project: &ProjectName,
        services: &BTreeSet<ServiceName>,
    ) -> Result<Vec<DependencySeen>, Error> {
        list::dependencies(self, project, services).await
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Observed>, Error> {
        self.look(id.as_str()).await
    }

    async fn find(&self, name: &str) -> Result<Option<Observed>, Error> {
        // What cannot be a name is nobody's, and must not become another path.
        if !is_container_name(name) {
            return Ok(None);
        }
        // The engine takes the beginning of an id for a name.
        let seen = self.look(name).await?;
        Ok(seen.filter(|observed| observed.name == name))
    }

    async fn create(&self, birth: &Birth) -> Result<ContainerId, Error> {
        if let Some(file) = (birth.container.files.iter()).find(|file| file.path.is_none()) {
            let message = format!("the {} `{}` has no place on the host", file.kind, file.name);
            return Err(error::refusal(400, message));
        }
        let api = self.api_version();
        needs::refuse(&needs::container_needs(&birth.container, api), api)?;
        let name = birth.replica.container_name(&birth.project);
        let options = CreateContainerOptionsBuilder::new().name(&name);
        let options = match &birth.container.platform {
            None => options,
            Some(platform) => options.platform(platform),
        };
        let asked = self
            .api
            .create_container(Some(options.build()), body::create_body(birth));
        // The body is large, and would be part of every future above.
        let created = self.call("create", BIRTH, Box::pin(asked)).await?;
        self.tell(&birth.replica.service, &created.warnings);
        Ok(ContainerId::new(created.id))
    }

    async fn connect(&self, id: &ContainerId, attachment: &Attachment) -> Result<(), Error> {
        let request = NetworkConnectRequest {
            container: id.to_string(),
            endpoint_config: Some(body::endpoint_settings(attachment)),
        };
        let network = attachment.network.as_str();
        let called = self
            .call(
                "connect",
                CHANGE,
                self.api.connect_network(network, request),
            )
            .await;
        match called {
            // "endpoint with name … already exists in network …", of a running container only: one that does not
            // run is attached anew without complaint (20.10.24, 28.5.2).
            Err(Error::Refused { message, .. } | Error::Conflict { message })
                if message.contains("already exists in network") =>
            {
                Ok(())
            }
            other => other,
        }
    }

    async fn disconnect(&self, id: &ContainerId, network: &NetworkName) -> Result<(), Error> {
        let request = NetworkDisconnectRequest {
            container: id.to_string(),
            force: None,
        };
        let called = self
            .call(
                "disconnect",
                CHANGE,
                self.api.disconnect_network(network.as_str(), request),
            )
            .await;
        match gone_is_done(called) {
            // "container … is not connected to network …" (500 on 20.10.24 and 28.5.2).
            Err(Error::Refused { message, .. } | Error::Conflict { message })
                if message.contains("is not connected to") =>
            {
                Ok(())
            }
            other => other,
        }
    }

    async fn start(&self, id: &ContainerId) -> Result<(), Error> {
        // 304 for a running one is Ok in bollard 0.21.1.
        self.call(
            "start",
            BIRTH,
            self.api
                .start_container(id.as_str(), None::<StartContainerOptions>),
        )
        .await
    }

    async fn stop(&self, id: &ContainerId, grace: Option<Duration>) -> Result<(), Error> {
        let seconds = match grace {
            Some(grace) => body::whole_seconds(grace),
            // Only the engine knows how long it will wait, and the limit here must be longer.
            None => match self.own_grace(id).await? {
                Some(seconds) => seconds,
                None => return Ok(()),
            },
        };
        let options = StopContainerOptionsBuilder::new()
            .t(i32::try_from(seconds).unwrap_or(i32::MAX))
            .build();
        let limit = Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
            .saturating_add(STOP_MARGIN);
        let stopped = self
            .call(
                "stop",
                limit,
                self.api.stop_container(id.as_str(), Some(options)),
            )
            .await;
        gone_is_done(stopped)
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        self.remove_container(id, true, false).await
    }

    async fn remove_original(&self, id: &ContainerId) -> Result<(), Error> {
        self.remove_container(id, false, false).await
    }

    async fn pause(&self, id: &ContainerId) -> Result<(), Error> {
        let paused = self
            .call("pause", CHANGE, self.api.pause_container(id.as_str()))
            .await;
        match paused {
            // "Container … is already paused" (20.10.24, 28.5.2).
            Err(Error::Refused { message, .. } | Error::Conflict { message })
                if message.contains("already paused") =>
            {
                Ok(())
            }
            other => other,
        }
    }

    async fn destroy(&self, id: &ContainerId) -> Result<(), Error> {
        self.remove_container(id, true, true).await
    }

    async fn exec(&self, id: &str) -> Result<Option<ExecFacts>, Error> {
        exec::exec(self, id).await
    }

    async fn evidence(&self, id: &ContainerId) -> Vec<Part> {
        Box::pin(exec::evidence(self, id)).await
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<(), Error> {
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        let renamed = self
            .call(
                "rename",
                CHANGE,
                self.api.rename_container(id.as_str(), options),
            )
            .await;
        match renamed {
            // "Renaming a container with the same name as its current name" (moby v28.5.2, `daemon/rename.go`).
            Err(Error::Refused { message, .. } | Error::Conflict { message })
                if message.contains("same name as its current name") =>
            {
                Ok(())
            }
            other => other,
        }
    }

    async fn examine(&self, id: &ContainerId) -> Result<Option<Examined>, Error> {
        examine::examine(self, id).await
    }

    async fn create_network(
        &self,
        project: &ProjectName,
        network: &NetworkSpec,
    ) -> Result<(), Error> {
        resources::create_network(self, project, network).await
    }

    async fn remove_network(&self, name: &NetworkName) -> Result<(), Error> {
        resources::remove_network(self, name).await
    }

    async fn create_volume(&self, project: &ProjectName, volume: &VolumeSpec) -> Result<(), Error> {
        resources::create_volume(self, project, volume).await
    }

    async fn remove_volume(&self, name: &VolumeName) -> Result<(), Error> {
        let removed = self
            .call(
                "remove volume",
                CHANGE,
                self.api
                    .remove_volume(name.as_str(), None::<RemoveVolumeOptions>),
            )
            .await;
        gone_is_done(removed)
    }

    async fn image(&self, image: &ImageRef) -> Result<Option<ImageFacts>, Error> {
        if !is_image_ref(image.as_str()) {
            return Err(error::refusal(
                400,
                format!("`{image}` is not the name of an image"),
            ));
        }
        let answer = self
            .call(
                "inspect image",
                LOOK,
                self.api.inspect_image(image.as_str()),
            )
            .await;
        match answer {
            Ok(answer) => convert::image_facts(answer).map(Some),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn vitals(&self, id: &ContainerId) -> Result<Option<Vitals>, Error> {
        examine::vitals(self, id).await
    }

    async fn subscribe(
        &self,
        project: &ProjectName,
        back: Duration,
    ) -> Result<impl Stream<Item = Result<Hint, Error>> + Send + Unpin + 'static, Error> {
        events::subscribe(&self.wire, events::About::Project(project.clone()), back).await
    }

    async fn subscribe_to_dependencies(
        &self,
        project: &ProjectName,
        services: &BTreeSet<ServiceName>,
    ) -> Result<impl Stream<Item = Result<Hint, Error>> + Send + Unpin + 'static, Error> {
        let about = events::About::Dependencies(project.clone(), services.clone());
        events::subscribe(&self.wire, about, Duration::ZERO).await
    }

    async fn subscribe_to_networks(
        &self,
    ) -> Result<impl Stream<Item = Result<Hint, Error>> + Send + Unpin + 'static, Error> {
        events::subscribe(&self.wire, events::About::Networks, Duration::ZERO).await
    }
}

impl Docker {
    /// A container by id or name; `None` when there is none.
    pub(super) async fn look(&self, reference: &str) -> Result<Option<Observed>, Error> {
        let answer = self.answer(reference).await?;
        answer
            .map(|answer| convert::observed(&answer, self.vantage()))
            .transpose()
    }

    /// What the engine says of a container; `None` when there is none.
    pub(super) async fn answer(
        &self,
        reference: &str,
    ) -> Result<Option<ContainerInspectResponse>, Error> {
        let answer = self
            .call(
                "inspect",
                LOOK,
                self.api
                    .inspect_container(reference, None::<InspectContainerOptions>),
            )
            .await;
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn remove_container(
        &self,
        id: &ContainerId,
        volumes: bool,
        force: bool,
    ) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::new().v(volumes).force(force);
        let removed = self
            .call(
                "remove",
                CHANGE,
                self.api
                    .remove_container(id.as_str(), Some(options.build())),
            )
            .await;
        match removed {
            // "removal of container … is already in progress": the look that follows tells how far it is.
            Err(Error::Conflict { message }) if message.contains("already in progress") => Ok(()),
            other => gone_is_done(other),
        }
    }

    fn vantage(&self) -> Vantage<'_> {
        Vantage {
            proc_root: self.proc_root.as_deref().map(std::path::PathBuf::as_path),
            podman: self.about().podman,
        }
    }

    /// The grace that a container was made with, in seconds; `None` when there is no such container.
    async fn own_grace(&self, id: &ContainerId) -> Result<Option<i64>, Error> {
        let grace = |answer: ContainerInspectResponse| {
            answer
                .config
                .and_then(|config| config.stop_timeout)
                .unwrap_or(DEFAULT_GRACE_SECONDS)
                .max(0)
        };
        Ok(self.answer(id.as_str()).await?.map(grace))
    }
}

/// Removing or stopping what is not there has nothing to do.
pub(super) fn gone_is_done(called: Result<(), Error>) -> Result<(), Error> {
    match called {
        Err(Error::NotFound { .. }) => Ok(()),
        other => other,
    }
}

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+` (moby v28.5.2, `daemon/names`).
fn is_container_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// The characters of `host:port/path:tag@algorithm:hex` (distribution/reference v0.6.0), without a way up.
pub(super) fn is_image_ref(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && !text.split('/').any(|part| part.is_empty() || part == "..")
        && text.chars().all(|c| {
            c.is_ascii_alphanumeric()
                || matches!(c, '_' | '.' | '-' | '/' | ':' | '@' | '+' | '[' | ']')
        })
}
