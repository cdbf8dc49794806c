//! Which replica is broken open, and what speaks against it.
//!
//! Not here: what follows (`glass`).

use std::collections::BTreeSet;

use super::World;
use super::glass::BreakGlass;
use super::replica::Replica;
use super::requests::Request;
use super::service::Service;
use super::touch::shown;
use super::world::{EngineState, replicas_of};
use crate::spec::{ReplicaName, ServiceName};

impl World {
    /// The services that a name means: docker compose's name of one means all of its containers.
    pub(super) fn units_of(&self, name: &ServiceName) -> BTreeSet<ServiceName> {
        let of = |service: &Service| {
            let adopted = service.desired.adopted.as_ref();
            adopted.is_some_and(|adopted| adopted.service == *name)
        };
        let units = self.services.iter();
        units
            .filter(|(unit, service)| *unit == name || of(service))
            .map(|(unit, _)| unit.clone())
            .collect()
    }

    /// The replica that is to be broken open, or why none can be.
    pub(super) fn choose_for_glass(&self, asked: &BreakGlass) -> Result<ReplicaName, String> {
        let units = self.units_of(&asked.service);
        let Some(service) = units.first().and_then(|unit| self.services.get(unit)) else {
            return Err(format!("there is no service `{}`", asked.service));
        };
        if let Some(why) = self.no_glass_for(&units, service) {
            return Err(why);
        }
        let all = || {
            units
                .iter()
                .flat_map(|unit| replicas_of(&self.replicas, unit))
        };
        if let Some(wanted) = &asked.replica {
            let is_it = |replica: &&Replica| {
                let name = &replica.name;
                name.to_string() == *wanted || name.container_name(&self.project) == *wanted
            };
            let Some(replica) = all().find(is_it) else {
                let wanted = shown(wanted);
                return Err(format!("`{}` has no replica `{wanted}`", asked.service));
            };
            return match self.not_for_glass(replica) {
                None => Ok(replica.name.clone()),
                Some(why) => Err(format!("{} {why}", replica.name)),
            };
        }
        let mut fit: Vec<&Replica> = all()
            .filter(|replica| self.not_for_glass(replica).is_none())
            .collect();
        // The one whose life ends first has the least to lose.
        fit.sort_by_key(|replica| (replica.born_at(), replica.name.serial));
        if let Some(replica) = fit.first() {
            return Ok(replica.name.clone());
        }
        let each = all().filter_map(|replica| {
            let why = self.not_for_glass(replica)?;
            Some(format!("{} {why}", replica.name))
        });
        let each: Vec<String> = each.collect();
        Err(if each.is_empty() {
            format!("`{}` has no replica", asked.service)
        } else {
            format!(
                "`{}` has no ready replica: {}",
                asked.service,
                each.join("; ")
            )
        })
    }

    /// What speaks against it whichever replica it is.
    fn no_glass_for(&self, units: &BTreeSet<ServiceName>, service: &Service) -> Option<String> {
        if self.down.is_some() {
            return Some("everything is being removed".to_owned());
        }
        if self.leaving {
            return Some("the supervisor is ending".to_owned());
        }
        if let EngineState::Unreachable(error) = &self.engine {
            return Some(format!("the engine does not answer: {error}"));
        }
        if self.engine == EngineState::Unlisted {
            return Some("the supervisor does not know its replicas yet".to_owned());
        }
        if let Some(error) = &self.journal_error {
            return Some(format!(
                "the journal cannot be written, and nobody gets in unrecorded: {error}"
            ));
        }
        let of = |name: &ReplicaName| units.contains(&name.service);
        let is_open = |replica: &&Replica| of(&replica.name) && replica.glass.is_some();
        if let Some(open) = self.replicas.values().find(is_open) {
            return Some(format!("{} is broken open already", open.name));
        }
        let pending = |request: &&Request| request.ended.is_none();
        let mut asked = self.requests.values().filter(pending);
        if let Some(name) = asked.find_map(|it| it.glass.as_ref().filter(|name| of(name))) {
            return Some(format!("{name} is about to be broken open already"));
        }
        if service.desired.phoenix.surge == 0 {
            let why = "only one of its containers may be there at a time (`surge: 0`), so no replacement can be started \
                       beside it";
            return Some(why.to_owned());
        }
        if let Some(why) = &service.objection {
            return Some(format!("its adoption was stopped: {why}"));
        }
        if service.is_budget_spent() {
            let last = service.failures().map_or("", |(_, _, last)| last);
            return Some(format!(
                "no replacement would be started: its failure budget is spent ({last}); `phoenixd recycle` tries again"
            ));
        }
        None
    }

    /// What speaks against one replica.
    fn not_for_glass(&self, replica: &Replica) -> Option<&'static str> {
        let service = self.services.get(&replica.name.service)?;
        if replica.name.is_original() {
            return Some(
                "is docker compose's own container: `phoenixd recycle` replaces it by one that can be broken open",
            );
        }
        if !replica.is_in_rotation(&service.desired) {
            return Some("is not ready");
        }
        (replica.condemned.is_some()).then_some("is being replaced already")
    }
}
