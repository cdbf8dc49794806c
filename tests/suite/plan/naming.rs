//! A service with a proxy of the operator's own: its names are where its ready replicas are.

use insta::assert_snapshot;
use phoenixd::reconcile::{Desired, Door, NetworkSeen, Touch};
use phoenixd::spec::{Edge, NetworkName};

use super::scenario::{Scenario, mins, secs, web};

fn ready() -> NetworkName {
    NetworkName::new("p_ready")
}

fn proxied() -> Desired {
    let mut desired = web();
    desired.phoenix.ttl = mins(600);
    desired.phoenix.edge = Edge::External;
    desired.published.clear();
    desired.on_ready = Some(ready());
    desired.makes_networks.insert(ready());
    desired
}

fn of(desired: Desired) -> Scenario {
    let mut scenario = Scenario::of(desired);
    scenario.networks.insert(NetworkSeen {
        name: ready(),
        ours: true,
    });
    scenario.start()
}

fn serving() -> Scenario {
    let mut scenario = of(proxied());
    scenario.live(mins(60));
    scenario
}

impl Scenario {
    /// Which replicas a proxy finds.
    fn named(&self) -> String {
        let all = self.containers.values();
        let found = all.filter(|one| one.networks.contains_key(&ready()));
        let found = found.map(|one| one.name.as_str());
        found.collect::<Vec<_>>().join(" ")
    }

    /// Somebody else attaches a replica to a network, or takes it off.
    fn moved(&mut self, replica: &str, network: &NetworkName, on: bool) {
        let id = self.id_of(replica);
        let networks = &mut self.containers.get_mut(&id).unwrap().networks;
        if on {
            networks.insert(network.clone(), None);
        } else {
            networks.remove(network);
        }
        self.list();
    }

    fn is_tainted_by_its_networks(&self) -> bool {
        let touched = self.world.plan(self.now).status.touched;
        touched
            .iter()
            .any(|it| it.touch == Touch::Door(Door::Network))
    }
}

#[test]
fn a_replica_has_the_names_while_it_is_ready() {
    let mut scenario = of(proxied());
    scenario.ill("web-1");
    assert_snapshot!(scenario.live(secs(20)), @r"
    0s create web-1 (generation 1): 0 of 1 replicas live
    0s start web-1: birth
    ");
    assert_snapshot!(scenario.named(), @"");
    scenario.well();
    assert_snapshot!(scenario.live(secs(5)), @"      0s connect web-1 to p_ready: it is ready");
    assert_snapshot!(scenario.named(), @"p-web-1");
    scenario.ill("web-1");
    assert_snapshot!(scenario.live(secs(30)), @r"
    0s disconnect web-1 from p_ready: it is not ready any more: connection refused
    1s create web-2 (generation 1): replaces web-1: it is not ready any more: connection refused
    1s start web-2: birth
    1s connect web-2 to p_ready: it is ready
    1s drain web-1: it is not ready any more: connection refused
    1s stop web-1: drained: it is not ready any more: connection refused
    1s remove web-1: it is not ready any more: connection refused
    ");
    assert!(!scenario.is_tainted_by_its_networks());
}

#[test]
fn what_leaves_keeps_its_names_beside_the_next_one_for_the_drain_and_then_ends() {
    let mut scenario = serving();
    scenario.recycle();
    assert_snapshot!(scenario.live(secs(60)), @r"
     0s create web-2 (generation 1): replaces web-1: recycle was asked for
     0s start web-2: birth
     0s connect web-2 to p_ready: it is ready
     0s drain web-1: recycle was asked for
    10s stop web-1: drained: recycle was asked for
    10s remove web-1: recycle was asked for
    ");
    assert_snapshot!(scenario.named(), @"p-web-2");
    assert!(!scenario.is_tainted_by_its_networks());
}

#[test]
fn a_replacement_without_the_names_lets_nobody_leave() {
    let mut scenario = serving();
    scenario.networks.retain(|network| network.name != ready());
    scenario.change(|desired| {
        desired.makes_networks.remove(&ready());
    });
    scenario.list();
    scenario.recycle();
    assert_snapshot!(scenario.live(secs(60)), @"");
    assert_snapshot!(scenario.plan(), @r"
    web-1 ready waits: replacement: recycle was asked for; it waits on external network p_ready to exist again: somebody removed it
    web waits: external network p_ready to exist again: somebody removed it
    ");
}

#[test]
fn what_was_touched_loses_the_names_before_it_is_frozen() {
    let mut scenario = serving();
    scenario.touched("web-1", Touch::Door(Door::Pause));
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s disconnect web-1 from p_ready: tainted: pause, as `docker commit` does as well
    0s create web-2 (generation 1): replaces web-1: tainted: pause, as `docker commit` does as well
    0s freeze web-1: tainted: pause, as `docker commit` does as well
    0s start web-2: birth
    0s capture web-1: tainted: pause, as `docker commit` does as well
    0s destroy web-1: tainted: pause, as `docker commit` does as well
    0s connect web-2 to p_ready: it is ready
    ");
}

#[test]
fn nobody_is_let_in_beside_a_proxy() {
    let mut scenario = serving();
    scenario.break_glass(mins(15));
    assert_snapshot!(scenario.live(mins(20)), @r"
         0s create web-2 (generation 1): replaces web-1: break-glass for 15m: why is it\u{1b}[2J slow
         0s start web-2: birth
         0s connect web-2 to p_ready: it is ready
         0s drain web-1: break-glass for 15m: why is it\u{1b}[2J slow
        10s disconnect web-1 from p_ready: break-glass for 15m: why is it\u{1b}[2J slow
        10s rename web-1 to p-web-1.break-glass-364510000: break-glass for 15m: why is it\u{1b}[2J slow
    15m 10s freeze web-1: break-glass is over: its time is over
    15m 10s capture web-1: break-glass is over: its time is over
    15m 10s destroy web-1: break-glass is over: its time is over
    ");
}

#[test]
fn the_next_supervisor_leaves_the_names_where_they_are_until_it_knows_better() {
    let mut scenario = serving();
    scenario.restart();
    assert_snapshot!(scenario.live(secs(30)), @"");
    assert_snapshot!(scenario.named(), @"p-web-1");
    // It was ill when nobody looked.
    scenario.ill("web-1");
    scenario.restart();
    assert_snapshot!(scenario.live(secs(20)), @"      5s disconnect web-1 from p_ready: it is not ready any more: connection refused");
}

#[test]
fn the_next_supervisor_gives_the_names_that_the_last_one_could_not() {
    let mut scenario = serving();
    let id = scenario.id_of("web-1");
    (scenario.containers.get_mut(&id).unwrap().networks).remove(&ready());
    scenario.restart();
    assert_snapshot!(scenario.live(secs(30)), @"      0s connect web-1 to p_ready: it is ready");
    assert!(!scenario.is_tainted_by_its_networks());
}

#[test]
fn a_stranger_s_hand_on_its_networks_is_a_taint_there_too() {
    let mut scenario = serving();
    scenario.moved("web-1", &ready(), false);
    assert!(scenario.is_tainted_by_its_networks());
    let mut scenario = serving();
    scenario.moved("web-1", &NetworkName::new("p_other"), true);
    assert!(scenario.is_tainted_by_its_networks());
}

#[test]
fn a_lone_replica_that_is_stopped_first_and_a_project_that_ends_wait_for_no_proxy() {
    let mut desired = proxied();
    desired.phoenix.surge = 0;
    let mut scenario = of(desired);
    scenario.live(mins(60));
    scenario.recycle();
    assert_snapshot!(scenario.live(secs(10)), @r"
    0s drain web-1: recycle was asked for
    0s stop web-1: drained: recycle was asked for
    0s remove web-1: recycle was asked for
    0s create web-2 (generation 1): 0 of 1 replicas live
    0s start web-2: birth
    0s connect web-2 to p_ready: it is ready
    ");
    scenario.down(false);
    assert_snapshot!(scenario.live(secs(10)), @r"
    0s drain web-2: `phoenixd down`
    0s stop web-2: drained: `phoenixd down`
    0s remove web-2: `phoenixd down`
    0s remove network p_default: `phoenixd down`
    0s remove network p_ready: `phoenixd down`
    ");
}
