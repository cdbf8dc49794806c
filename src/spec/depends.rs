//! What a service needs before its first start: `depends_on`, and which one of a dependency a replica was born after.
//!
//! Not here: whether a condition is met now (`reconcile`), and whether the dependency exists (`compose`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::{ContainerId, ServiceName, SpecHash};

/// One entry of `depends_on`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dependency {
    /// What has to hold before the first start.
    pub condition: Condition,
    /// `false`: its absence or failure blocks nothing.
    pub required: bool,
    /// Replace the replicas when it is updated.
    pub restart: bool,
    /// Who runs it.
    pub run_by: RunBy,
}

/// `depends_on.SERVICE.condition`, under the names of the Compose Specification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// `service_started`
    Started,
    /// `service_healthy`
    Healthy,
    /// `service_completed_successfully`
    CompletedSuccessfully,
}

/// Who runs a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunBy {
    /// It has `x-phoenix`.
    Phoenixd,
    /// It has not: docker compose does, and phoenixd only looks.
    Compose,
}

/// Which one of a dependency was there when a replica was made. It stands in the replica's label, so that an update of
/// the dependency is known after any crash, and once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Incarnation {
    /// Of a phoenix: what its replicas were born from. One that is replaced because its life ends is still the same.
    Phoenix(SpecHash),
    /// Of a service of docker compose: its containers that had been started; none when there was none.
    Compose(BTreeSet<ContainerId>),
}

/// Which one of each dependency a replica was born after.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BornAfter(pub BTreeMap<ServiceName, Incarnation>);

impl Default for Dependency {
    /// The short form: `depends_on: [db]`.
    fn default() -> Self {
        Self {
            condition: Condition::Started,
            required: true,
            restart: false,
            run_by: RunBy::Compose,
        }
    }
}

impl Condition {
    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "service_started",
            Self::Healthy => "service_healthy",
            Self::CompletedSuccessfully => "service_completed_successfully",
        }
    }
}

impl fmt::Display for BornAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (service, incarnation)) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            match incarnation {
                Incarnation::Phoenix(hash) => write!(f, "{gap}{service}=phoenix:{hash}")?,
                Incarnation::Compose(ids) => {
                    let ids: Vec<&str> = ids.iter().map(ContainerId::as_str).collect();
                    write!(f, "{gap}{service}=compose:{}", ids.join("+"))?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for BornAfter {
    type Err = ();

    /// Reads what `Display` writes: `api=phoenix:HASH db=compose:ID+ID`. A name of a service has neither blank nor `=`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let entry = |entry: &str| {
            let (service, incarnation) = entry.split_once('=').ok_or(())?;
            let incarnation = match incarnation.split_once(':').ok_or(())? {
                ("phoenix", hash) => Incarnation::Phoenix(SpecHash::new(hash)),
                ("compose", "") => Incarnation::Compose(BTreeSet::new()),
                ("compose", ids) => {
                    Incarnation::Compose(ids.split('+').map(ContainerId::new).collect())
                }
                _ => return Err(()),
            };
            Ok((ServiceName::new(service), incarnation))
        };
        let entries = text.split_whitespace().map(entry);
        Ok(Self(entries.collect::<Result<_, ()>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_replica_was_born_after_is_read_as_it_was_written() {
        for text in [
            "",
            "db=compose:",
            "api=phoenix:abc db=compose:1+2 my.queue_1-x=compose:3",
        ] {
            let read: BornAfter = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        for text in ["db", "db=", "db=swarm:1", "a=phoenix:1 b"] {
            assert_eq!(text.parse::<BornAfter>(), Err(()), "{text}");
        }
    }
}
