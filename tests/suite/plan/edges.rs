//! The scenario's edges in pods: they do at once what they are told to.

use std::time::Duration;

use phoenixd::reconcile::{Asks, ContainerState, EdgeSaid, EdgeStage, Event};
use phoenixd::spec::ContainerId;

use super::scenario::Scenario;

impl Scenario {
    /// The edges take their orders and the newest table; whether anything changed.
    pub(super) fn edges_follow(&mut self) -> bool {
        let orders = self.world.plan(self.now).edges;
        let mut changed = false;
        for (id, order) in &orders {
            let name = self.containers.get(id).unwrap().name.clone();
            let is_mute = |mute: &String| name == format!("p-{mute}") || mute == "every one";
            if self.mute.iter().any(is_mute) {
                continue;
            }
            let before = self.edges.get(id).cloned();
            let mut said = before.clone().unwrap_or_default();
            let is_free = order.takes_over.is_some() || !self.mute_listen(id);
            if order.listens && said.stage == EdgeStage::Idle && is_free {
                said.stage = EdgeStage::Serving;
                let other = orders.iter().find(|(_, other)| {
                    other.service == order.service && Some(other.serial) == order.takes_over
                });
                if let Some((other_id, other)) = other {
                    self.took_over.push((order.serial, other.serial));
                    let mut spent = self.edges.get(other_id).cloned().unwrap_or_default();
                    spent.stage = EdgeStage::Spent;
                    self.says(other_id.clone(), spent);
                }
            }
            let has_table = said.stage != EdgeStage::Idle && !self.deaf.contains(id);
            if has_table {
                said.report.epoch = self.epoch;
            }
            if before.as_ref() != Some(&said) {
                self.says(id.clone(), said);
                changed = true;
            }
        }
        changed |= self.mute_are_missed();
        changed
    }

    /// Whether one that nobody can speak to runs in the same network: it has the ports.
    fn mute_listen(&self, of: &ContainerId) -> bool {
        let joined = &self.containers.get(of).unwrap().joined;
        self.containers.values().any(|other| {
            let is_mute = |mute: &String| other.name == format!("p-{mute}");
            other.id != *of
                && other.joined == *joined
                && other.state == ContainerState::Running
                && self.mute.iter().any(is_mute)
        })
    }

    /// One that does not answer is told of, as often as it takes.
    fn mute_are_missed(&mut self) -> bool {
        let mut changed = false;
        for name in self.mute.clone() {
            let found = self
                .containers
                .values()
                .find(|c| c.name == format!("p-{name}"));
            let Some(id) = found.map(|found| found.id.clone()) else {
                continue;
            };
            let failures = self.missed.entry(id.clone()).or_insert(0);
            if *failures < 3 {
                *failures += 1;
                let said = Err("its control socket does not answer".to_owned());
                self.apply(Event::EdgeOf { id, said });
                changed = true;
            }
        }
        changed
    }

    fn says(&mut self, id: ContainerId, said: EdgeSaid) {
        self.edges.insert(id.clone(), said.clone());
        self.apply(Event::EdgeOf { id, said: Ok(said) });
    }

    /// It does not answer any more.
    pub(super) fn silence(&mut self, edge: &str) {
        self.mute.insert(edge.to_owned());
    }

    /// It is connected, is to ask somebody every so often, and has not been heard for so long.
    pub(super) fn quiet(&mut self, edge: &str, every: Duration, silent: Duration) {
        let id = self.id_of(edge);
        let said = self.edges.get(&id).cloned().unwrap_or_default();
        let asks = Asks { every, silent };
        self.apply(Event::EdgeOf {
            id,
            said: Ok(EdgeSaid { asks, ..said }),
        });
    }

    /// It takes no table any more.
    pub(super) fn deafen(&mut self, edge: &str) {
        let id = self.id_of(edge);
        self.deaf.insert(id);
    }

    /// Everybody takes tables again.
    pub(super) fn hear(&mut self) {
        self.deaf.clear();
    }

    /// So many connections of the replica go through the edge.
    pub(super) fn open_through(&mut self, edge: &str, replica: &str, connections: u64) {
        let (edge, replica) = (self.id_of(edge), self.id_of(replica));
        let mut said = self.edges.get(&edge).cloned().unwrap_or_default();
        said.report.open.insert(replica, connections);
        self.says(edge, said);
    }

    /// Where the edge is in its life.
    pub(super) fn stage_of(&self, edge: &str) -> Option<EdgeStage> {
        let said = self.edges.get(&self.id_of(edge));
        said.map(|said| said.stage.clone())
    }

    /// Whose network it is in.
    pub(super) fn joined(&self, replica: &str) -> Option<ContainerId> {
        let seen = self.containers.get(&self.id_of(replica)).unwrap();
        seen.joined.clone()
    }

    /// It is seen in another network than it was made for.
    pub(super) fn rejoin(&mut self, replica: &str, other: ContainerId) {
        let id = self.id_of(replica);
        let observed = self.containers.get_mut(&id).unwrap();
        observed.joined = Some(other);
        let event = Event::Seen {
            asked_at: self.now,
            id,
            observed: Some(Box::new(observed.clone())),
        };
        self.apply(event);
    }
}
