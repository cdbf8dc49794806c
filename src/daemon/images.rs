//! Where the image of a service comes from: the engine, a registry, or a build.
//!
//! As docker compose has it (v2.40.3, `pkg/compose/build.go` and `pull.go`): an image that is there is taken as it is; one
//! that the file names is asked for at its registry first; then it is built, where there is a `build:`.
//!
//! Not here: what follows from an image (`resolve`).

use crate::docker::{Engine, Error, ImageOf};
use crate::spec::{
    Beyond, Build, Diagnostic, ImageFacts, ImageRef, MountSource, Project, PullPolicy, Service,
};

/// What is done to have an image.
pub trait Missing {
    /// Asks for a service's image anew where its policy wants that, before it is looked up.
    ///
    /// # Errors
    /// Why nothing may be started without an answer, in words for the user.
    fn refresh(&self, service: &Service) -> impl Future<Output = Result<(), String>> + Send;

    /// Tries to get an image that the engine does not have; `Ok` when the engine has it now. `platform` is
    /// `os[/arch[/variant]]`.
    ///
    /// # Errors
    /// Why it cannot be had, in words for the user.
    fn get(
        &self,
        image: &ImageRef,
        platform: Option<&str>,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Builds it; `Ok` when the engine has it now.
    ///
    /// # Errors
    /// Why it cannot be built, in words for the user.
    fn build(
        &self,
        of: ImageOf<'_>,
        build: &Build,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Which images are built.
    fn builds(&self) -> Builds;
}

/// Which images are built, of those that have a `build:`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Builds {
    /// None: the command changes nothing.
    Never,
    /// Those that the engine does not have, and those that the file wants built anew each time.
    Missing,
    /// All.
    All,
}

/// Nothing: commands that change nothing neither pull nor build.
#[derive(Clone, Copy, Debug)]
pub struct NeverPull;

impl Missing for NeverPull {
    async fn refresh(&self, _: &Service) -> Result<(), String> {
        Ok(())
    }

    async fn get(&self, _: &ImageRef, _: Option<&str>) -> Result<(), String> {
        Err("the engine does not have it, and this command does not pull".to_owned())
    }

    async fn build(&self, _: ImageOf<'_>, _: &Build) -> Result<(), String> {
        Err("the engine does not have it, and this command does not build".to_owned())
    }

    fn builds(&self) -> Builds {
        Builds::Never
    }
}

/// A service whose image `phoenixd up` would build.
#[derive(Clone, Copy, Debug)]
pub struct ToBuild<'a> {
    /// The service.
    pub service: &'a Service,
    /// The engine does not have the image: nothing can be said of what comes after.
    pub is_missing: bool,
}

/// The services whose images `phoenixd up` would build.
///
/// # Errors
/// The engine could not be asked.
pub async fn to_build<'a, E: Engine>(
    engine: &E,
    project: &'a Project,
) -> Result<Vec<ToBuild<'a>>, Error> {
    let mut found = Vec::new();
    for service in project.services.values() {
        if service.build.is_none() {
            continue;
        }
        let is_missing = engine.image(&service.container.image).await?.is_none();
        if is_missing || service.pull == PullPolicy::Build {
            found.push(ToBuild {
                service,
                is_missing,
            });
        }
    }
    Ok(found)
}

/// Finds the images of a project's services, one after the other.
pub(super) struct Images<'a, E, M> {
    pub(super) engine: &'a E,
    pub(super) project: &'a Project,
    pub(super) missing: &'a M,
    /// What was built already: two services may share it.
    pub(super) built: Vec<(&'a ImageRef, &'a Build)>,
}

/// What was wanted, or everything that is wrong with it.
type Found<T> = Result<T, Vec<Diagnostic>>;

impl<'a, E: Engine, M: Missing> Images<'a, E, M> {
    /// What the engine knows of a service's image, after what its policy wants.
    pub(super) async fn facts(&mut self, service: &'a Service) -> Result<Found<ImageFacts>, Error> {
        let image = &service.container.image;
        let forbids = match service.pull {
            PullPolicy::Never => Some("`pull_policy: never` forbids to pull it"),
            PullPolicy::Build => Some("`pull_policy: build` says that it is built, not pulled"),
            PullPolicy::Missing
            | PullPolicy::Always
            | PullPolicy::Latest
            | PullPolicy::Refresh(_) => None,
        };
        let Some(build) = &service.build else {
            if let Err(why) = self.missing.refresh(service).await {
                return Ok(Err(vec![not_refreshed(service, &why)]));
            }
            return self.image(image, service, "image", forbids).await;
        };
        let is_anew = match self.missing.builds() {
            Builds::Never => false,
            Builds::Missing => service.pull == PullPolicy::Build,
            Builds::All => true,
        };
        // Of an image that the file does not name, no registry knows. One that can be built need not be pulled.
        let may_pull = service.places.contains_key("image") && !is_anew && forbids.is_none();
        if may_pull {
            self.missing.refresh(service).await.unwrap_or_default();
        }
        if !is_anew && let Some(facts) = self.engine.image(image).await? {
            return Ok(Ok(facts));
        }
        let platform = service.container.platform.as_deref();
        if may_pull
            && self.missing.get(image, platform).await.is_ok()
            && let Some(facts) = self.engine.image(image).await?
        {
            return Ok(Ok(facts));
        }
        self.built(service, build).await
    }

    /// The service with each mounted image's id, so that all replicas of a generation mount the same files.
    pub(super) async fn mounted(&self, service: &Service) -> Result<Found<Service>, Error> {
        let mut service = service.clone();
        for index in 0..service.container.mounts.len() {
            let Some(MountSource::Image { image, .. }) = service
                .container
                .mounts
                .get(index)
                .map(|mount| &mount.source)
            else {
                continue;
            };
            let image = image.clone();
            let found = match self.image(&image, &service, "volumes", None).await? {
                Ok(facts) => facts.id,
                Err(problems) => return Ok(Err(problems)),
            };
            if let Some(MountSource::Image { id, .. }) =
                (service.container.mounts.get_mut(index)).map(|mount| &mut mount.source)
            {
                *id = Some(found);
            }
        }
        Ok(Ok(service))
    }

    /// What the engine knows of an image, after an attempt to pull it.
    async fn image(
        &self,
        image: &ImageRef,
        service: &Service,
        key: &str,
        forbids: Option<&str>,
    ) -> Result<Found<ImageFacts>, Error> {
        if let Some(facts) = self.engine.image(image).await? {
            return Ok(Ok(facts));
        }
        let platform = service.container.platform.as_deref();
        let got = match forbids {
            Some(why) => Err(why.to_owned()),
            None => self.missing.get(image, platform).await,
        };
        let why = match got {
            Ok(()) => match self.engine.image(image).await? {
                Some(facts) => return Ok(Ok(facts)),
                None => "it was pulled, but the engine does not have it".to_owned(),
            },
            Err(why) => why,
        };
        let message = format!("image `{image}` is not there: {why}");
        let problem = Diagnostic::error("no-image", service.place(key), service.path(key), message);
        Ok(Err(vec![problem.hint(format!(
            "check the name, or get it: `docker pull {image}`"
        ))]))
    }

    async fn built(
        &mut self,
        service: &'a Service,
        build: &'a Build,
    ) -> Result<Found<ImageFacts>, Error> {
        let (name, image) = (&service.name, &service.container.image);
        let elsewhere = format!("`docker compose build {name}`, and phoenixd takes the image");
        if self.missing.builds() == Builds::Never {
            let message = format!(
                "image `{image}` is not there: the engine does not have it, and this command does not build"
            );
            let problem = Diagnostic::error(
                "no-image",
                service.place("build"),
                service.path("build"),
                message,
            );
            let hint = format!("`phoenixd up` builds it; or build it with {elsewhere}");
            return Ok(Err(vec![problem.hint(hint)]));
        }
        if !build.beyond.is_empty() {
            let problem = |beyond: &Beyond| {
                let key = &beyond.key;
                let message = format!(
                    "`build.{key}` of `{name}` needs BuildKit: the engine's build API cannot do it"
                );
                let place = Some(beyond.place.clone());
                let path = service.path(&format!("build.{key}"));
                Diagnostic::error("needs-buildkit", place, path, message)
                    .hint(format!("build it with {elsewhere}"))
            };
            return Ok(Err(build.beyond.iter().map(problem).collect()));
        }
        let is_built = self.built.contains(&(image, build));
        let of = ImageOf {
            project: &self.project.name,
            service: name,
            image,
        };
        let why = if is_built {
            Ok(())
        } else {
            self.missing.build(of, build).await
        };
        let why = match why {
            Ok(()) => match self.engine.image(image).await? {
                Some(facts) => {
                    self.built.push((image, build));
                    return Ok(Ok(facts));
                }
                None => "it was built, but the engine does not have it".to_owned(),
            },
            Err(why) => why,
        };
        let message = format!("image `{image}` cannot be built: {why}");
        let problem = Diagnostic::error(
            "build-failed",
            service.place("build"),
            service.path("build"),
            message,
        );
        Ok(Err(vec![
            problem.hint(format!("mend it, or build it with {elsewhere}")),
        ]))
    }
}

/// A registry that had to be asked did not answer.
fn not_refreshed(service: &Service, why: &str) -> Diagnostic {
    let message = format!(
        "image `{}` could not be asked for: {why}",
        service.container.image
    );
    let (place, path) = (service.place("image"), service.path("image"));
    Diagnostic::error("no-image", place, path, message).hint(
        "try again, or use what is there: `pull_policy: missing`, or `x-phoenix: { pull: latest }` to ask without insisting",
    )
}
