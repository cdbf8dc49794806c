//! What is asked of one container: doors, life, names, execs, commits.

use super::super::managed::Hold;
use super::super::routes::Route;
use super::Asked;
use super::decide::ExecOwner;

impl Asked<'_> {
    pub(super) fn container(&self) -> Result<(), String> {
        if self.matched.route == Route::ExecUse {
            return self.exec_use();
        }
        let name = &self.matched.name;
        let hold = self.view.managed.container(name);
        let why = match &hold {
            Hold::Free => None,
            Hold::Joining => return self.joining(),
            Hold::Held(why) => Some(*why),
            Hold::Glass { .. } => Some("it is managed by phoenixd"),
        };
        match self.matched.route {
            Route::ExecCreate => self.exec_create(&hold),
            Route::ContainerDoor => why.map_or(Ok(()), |why| {
                Err(format!("nobody gets in or out of `{name}`: {why}"))
            }),
            Route::ContainerStart => {
                if why.is_some() && !self.json.is_nothing() {
                    return Err(format!(
                        "`{name}` is started as it was created, or not at all"
                    ));
                }
                self.alone(name, why)
            }
            Route::ContainerRename => {
                self.alone(name, why)?;
                let to = self.query("name")?;
                let managed = self.view.managed;
                // Where it is on a network its new name leads to it there; on which ones it is, is not known here.
                let is_taken = managed.is_taken(to) || managed.is_name_anywhere(to);
                if is_taken && !self.view.is_signed() {
                    return Err(format!("the name `{to}` is reserved for phoenixd"));
                }
                Ok(())
            }
            Route::Free
            | Route::ContainerRead
            | Route::ContainerChanges
            | Route::ContainerLife
            | Route::ContainerUpdate
            | Route::ContainerCreate
            | Route::ExecUse
            | Route::Commit
            | Route::Prune
            | Route::NetworkCreate
            | Route::NetworkJoin
            | Route::NetworkRemove
            | Route::VolumeCreate
            | Route::VolumeChange
            | Route::ImageLoad
            | Route::ImageCreate
            | Route::ImageTag
            | Route::ImageRemove
            | Route::Build
            | Route::BuildSession
            | Route::Closed => self.alone(name, why),
        }
    }

    /// A container of somebody else that was made to be in a managed one: it ends and is removed, and nothing begins in it. It
    /// is known by its name, which it keeps.
    fn joining(&self) -> Result<(), String> {
        let name = &self.matched.name;
        let verb = self.target.segments.get(2).map_or("", String::as_str);
        let route = self.matched.route;
        let is_read = matches!(route, Route::ContainerRead | Route::ContainerChanges);
        let ends = route == Route::ContainerLife && !matches!(verb, "restart" | "unpause");
        if is_read || ends {
            return Ok(());
        }
        let what = format!("`{name}` was made to be in a managed container, or with its volumes");
        self.view.signed_only(&what)
    }

    /// On what is managed, phoenixd alone.
    fn alone(&self, name: &str, why: Option<&str>) -> Result<(), String> {
        match why {
            None => Ok(()),
            Some(why) => self.view.signed_only(&format!("`{name}`: {why}")),
        }
    }

    fn exec_create(&self, hold: &Hold) -> Result<(), String> {
        let name = &self.matched.name;
        // It leads out of any container, onto the host, and from there into every other.
        let is_privileged = !self.json.field("Privileged").is_nothing();
        match hold {
            Hold::Free if is_privileged => Err(format!(
                "a privileged exec in `{name}` leads to the host, where managed containers are"
            )),
            Hold::Free => Ok(()),
            Hold::Joining => self.joining(),
            Hold::Held(why) => Err(format!("nobody may exec in `{name}`: {why}")),
            Hold::Glass { until, .. } if self.view.now < *until => {
                if is_privileged {
                    Err(format!(
                        "`{name}` is broken open, but not for a privileged exec"
                    ))
                } else {
                    Ok(())
                }
            }
            Hold::Glass { .. } => Err(format!(
                "nobody may exec in `{name}`: the time for which it was broken open is over"
            )),
        }
    }

    fn exec_use(&self) -> Result<(), String> {
        let id = &self.matched.name;
        let over =
            "nobody may use this exec: the time for which its container was broken open is over";
        match (self.view.exec)(id) {
            Some(ExecOwner::Other) => Ok(()),
            Some(ExecOwner::Glass(container)) => {
                let until = self.view.managed.glass_until(&container);
                let is_open = until.is_some_and(|until| self.view.now < until);
                is_open.then_some(()).ok_or_else(|| over.to_owned())
            }
            None => Err(format!(
                "the guard did not see exec `{id}` being made, so it may be in a managed container"
            )),
        }
    }

    pub(super) fn commit(&self) -> Result<(), String> {
        let name = self.query("container")?;
        match self.view.managed.container(name) {
            Hold::Free | Hold::Joining => {}
            Hold::Held(why) => return Err(format!("no image is made of `{name}`: {why}")),
            Hold::Glass { .. } => {
                return Err(format!(
                    "no image is made of `{name}`: it is managed by phoenixd"
                ));
            }
        }
        self.image_name_is_free("repo", "tag")
    }
}
