//! Break glass: one replica leaves start-first, is kept for whoever is let in, and is recorded and destroyed at the end; it
//! never returns, whoever supervises.

use std::time::Duration;

use insta::assert_snapshot;
use phoenixd::reconcile::{
    BreakGlass, Command, Door, Event, Exec, ExecFacts, GlassStatus, RequestId, Touch,
};
use phoenixd::spec::ServiceName;

use super::scenario::{Scenario, mins, secs, web};

impl Scenario {
    fn break_glass_of(&mut self, replica: Option<&str>, length: Duration) {
        let asked = BreakGlass {
            service: ServiceName::new("web"),
            replica: replica.map(str::to_owned),
            length,
            reason: "why is it\u{1b}[2J slow".to_owned(),
        };
        let request = RequestId(1);
        self.apply(Event::Command(Command::BreakGlass { request, asked }));
    }

    pub(super) fn break_glass(&mut self, length: Duration) {
        self.break_glass_of(None, length);
    }

    fn end_glass(&mut self) {
        let (request, service) = (RequestId(2), ServiceName::new("web"));
        self.apply(Event::Command(Command::EndGlass { request, service }));
    }

    /// What the status says of what is broken open.
    fn glass(&self) -> Option<GlassStatus> {
        let status = self.world.plan(self.now).status;
        status.replicas.into_iter().find_map(|row| row.glass)
    }

    fn names(&self) -> Vec<&str> {
        let names = self.containers.values();
        names.map(|container| container.name.as_str()).collect()
    }
}

/// One replica that has served for an hour of a TTL of many.
fn serving() -> Scenario {
    let mut desired = web();
    desired.phoenix.ttl = mins(600);
    let mut scenario = Scenario::of(desired).start();
    scenario.live(mins(60));
    scenario
}

#[test]
fn it_leaves_start_first_is_marked_kept_and_destroyed_at_its_end() {
    let mut scenario = serving();
    scenario.break_glass(mins(15));
    assert_snapshot!(scenario.request(), @r"Some(Pending(1))");
    assert_snapshot!(scenario.live(mins(20)), @r"
     0s create web-2 (generation 1): replaces web-1: break-glass for 15m: why is it\u{1b}[2J slow
     0s start web-2: birth
     0s drain web-1: break-glass for 15m: why is it\u{1b}[2J slow
     0s rename web-1 to p-web-1.break-glass-364500000: break-glass for 15m: why is it\u{1b}[2J slow
    15m freeze web-1: break-glass is over: its time is over
    15m capture web-1: break-glass is over: its time is over
    15m destroy web-1: break-glass is over: its time is over
    ");
    assert_snapshot!(scenario.routed(), @"web-2");
    assert_snapshot!(scenario.request(), @r"Some(Done)");
}

#[test]
fn nobody_is_let_in_before_the_name_tells_of_it_nor_after_its_end() {
    let mut scenario = serving();
    scenario.break_glass(mins(15));
    assert_eq!(scenario.glass(), None);
    scenario.edge_works(false);
    scenario.live(secs(60));
    assert_eq!(scenario.glass(), None, "the edge may still send to it");
    scenario.edge_works(true);
    scenario.live(secs(1));
    let glass = scenario.glass().unwrap();
    assert!(glass.open);
    assert_eq!(glass.reason.as_deref(), Some("why is it\\u{1b}[2J slow"));
    let end = format!(
        "p-web-1.break-glass-{}",
        glass.until.since_boot().as_millis()
    );
    assert!(
        scenario.names().contains(&end.as_str()),
        "{:?}",
        scenario.names()
    );
    scenario.now = glass.until;
    assert!(!scenario.glass().unwrap().open);
}

#[test]
fn what_its_drain_leaves_open_is_cut_and_counted_before_anybody_is_let_in() {
    let mut scenario = serving();
    scenario.change(|desired| desired.phoenix.drain = secs(5));
    scenario.open("web-1", 3);
    scenario.break_glass(mins(15));
    scenario.live(secs(4));
    assert!(scenario.table.cut.is_empty(), "they have their drain time");
    scenario.live(secs(2));
    assert_eq!(scenario.table.cut.len(), 1);
    assert!(scenario.table.cut.is_subset(&scenario.table.draining));
    assert_snapshot!(scenario.plan(), @"web-1 draining waits: the edge to cut 3 open connections, 9.0 s left");
    assert_eq!(scenario.glass(), None, "a client is connected to it");
    scenario.open("web-1", 0);
    assert_snapshot!(scenario.live(secs(1)).trim(), @r"0s rename web-1 to p-web-1.break-glass-364506000: 3 connections were cut: break-glass for 15m: why is it\u{1b}[2J slow");
    assert!(scenario.glass().unwrap().open);
    assert_eq!(scenario.table.cut.len(), 1, "it stays cut");
}

#[test]
fn an_edge_that_does_not_say_that_it_has_cut_lets_nobody_in() {
    let mut scenario = serving();
    scenario.open("web-1", 3);
    scenario.break_glass(mins(15));
    assert_snapshot!(scenario.live(mins(1)), @r"
     0s create web-2 (generation 1): replaces web-1: break-glass for 15m: why is it\u{1b}[2J slow
     0s start web-2: birth
     0s drain web-1: break-glass for 15m: why is it\u{1b}[2J slow
    20s stop web-1: drain time is over with 3 connections open: break-glass for 15m: why is it\u{1b}[2J slow
    20s remove web-1: break-glass for 15m: why is it\u{1b}[2J slow
    ");
    assert_snapshot!(scenario.request(), @r#"Some(Failed("web-1: the edge did not report within 10s that the last connections to it are cut, and nobody gets in beside a client; it is stopped"))"#);
    assert_eq!(scenario.glass(), None);
    assert_eq!(scenario.names(), ["p-web-2"]);
}

#[test]
fn it_outlives_its_ttl_and_holds_no_recycle_up() {
    let mut desired = web();
    desired.phoenix.ttl = mins(30);
    let mut scenario = Scenario::of(desired).start();
    scenario.live(mins(20));
    scenario.break_glass(mins(60));
    scenario.live(mins(1));
    scenario.recycle();
    assert_snapshot!(scenario.live(mins(50)), @r"
          0s create web-3 (generation 1): replaces web-2: recycle was asked for
          0s start web-3: birth
          0s drain web-2: recycle was asked for
          0s stop web-2: drained: recycle was asked for
          0s remove web-2: recycle was asked for
    29m 36s 900ms create web-4 (generation 1): replaces web-3: its life of 30m ends
    29m 36s 900ms start web-4: birth
    29m 36s 900ms drain web-3: its life of 30m ends
    29m 36s 900ms stop web-3: drained: its life of 30m ends
    29m 36s 900ms remove web-3: its life of 30m ends
    ");
    assert!(scenario.glass().unwrap().open);
    assert!(!scenario.world.plan(scenario.now).status.replicas[0].overdue);
}

#[test]
fn the_next_supervisor_knows_it_and_its_end_by_its_name() {
    let mut scenario = serving();
    scenario.break_glass(mins(15));
    scenario.live(mins(5));
    let before = scenario.glass().unwrap();
    scenario.restart();
    scenario.live(secs(1));
    let after = scenario.glass().unwrap();
    assert_eq!(
        (after.until, after.open, after.reason),
        (before.until, true, None)
    );
    assert_eq!(scenario.routed(), "web-2");
    // It may be told of the rename again, which was the first one's.
    let names = scenario.names();
    let mark = names.iter().find(|name| name.contains("glass")).unwrap();
    let renamed = Touch::Renamed((*mark).to_owned());
    let told = |scenario: &Scenario| scenario.world.plan(scenario.now).status.touched.len();
    let before = told(&scenario);
    scenario.touched("web-1", renamed);
    assert_eq!(told(&scenario), before);
    scenario.touched("web-1", Touch::Renamed("mine".to_owned()));
    assert_eq!(told(&scenario), before + 1);
    assert_snapshot!(scenario.live(mins(15)), @r"
    9m 59s 250ms freeze web-1: break-glass is over: its time is over
    9m 59s 250ms capture web-1: break-glass is over: its time is over
    9m 59s 250ms destroy web-1: break-glass is over: its time is over
    ");
    assert_eq!(scenario.names(), ["p-web-2"]);
}

#[test]
fn an_end_whose_supervisor_is_killed_is_known_to_the_next_one_by_the_journal() {
    let mut scenario = serving();
    scenario.break_glass(mins(15));
    scenario.live(mins(5));
    scenario.end_glass();
    // And the one after that, whose journal may have lost the older record.
    scenario.restart();
    assert!(!scenario.glass().unwrap().open);
    scenario.restart();
    assert_snapshot!(scenario.live(secs(10)), @r"
    250ms freeze web-1: break-glass is over: it was ended before its time
    250ms capture web-1: break-glass is over: it was ended before its time
    250ms destroy web-1: break-glass is over: it was ended before its time
    ");
    assert_eq!(scenario.names(), ["p-web-2"]);
}

#[test]
fn a_name_that_somebody_else_gave_keeps_nothing_for_ever() {
    let mut scenario = serving();
    for container in scenario.containers.values_mut() {
        container.name = "p-web-1.break-glass-99999999999999".to_owned();
    }
    // Whoever is there notices the rename, and takes it for what it is.
    let mut noticed = serving();
    noticed.touched(
        "web-1",
        Touch::Renamed("p-web-1.break-glass-99999999999999".to_owned()),
    );
    assert!(
        noticed.world.plan(noticed.now).status.replicas[0]
            .tainted
            .is_some()
    );
    assert_eq!(noticed.glass(), None);
    scenario.restart();
    scenario.live(secs(1));
    let glass = scenario.glass().unwrap();
    assert!(glass.until.since(scenario.now) <= BreakGlass::LONGEST);
    scenario.live(mins(250));
    assert_eq!(scenario.names(), ["p-web-2"]);
}

#[test]
fn what_is_done_in_it_is_recorded_and_ends_nothing() {
    let mut scenario = serving();
    scenario.break_glass(mins(15));
    scenario.live(mins(1));
    let exec = |facts| {
        Touch::Exec(Exec {
            id: "e1".to_owned(),
            command: "sh -i".to_owned(),
            facts,
        })
    };
    let facts = ExecFacts {
        arguments: vec!["sh".to_owned(), "-i".to_owned()],
        privileged: false,
        tty: true,
        stdin: true,
        user: "0".to_owned(),
    };
    for touch in [
        exec(None),
        exec(None),
        exec(Some(facts)),
        Touch::ExecEnded {
            id: "e1".to_owned(),
            code: Some(3),
        },
        Touch::Door(Door::CopyOut),
        Touch::Door(Door::Commit),
        Touch::Changed(Some("/tmp/x".to_owned())),
    ] {
        scenario.touched("web-1", touch);
    }
    let status = scenario.world.plan(scenario.now).status;
    let told: Vec<String> = (status.touched.iter())
        .map(|it| format!("{}: {}", it.judged.name(), it.touch.words()))
        .collect();
    assert_snapshot!(told.join("\n"), @r"
    reported: exec of `sh -i`
    reported: exec of `sh -i` as `0`, with a terminal, with input
    reported: exec e1 ended with code 3
    reported: copy of files out of it
    reported: commit to an image
    reported: `/tmp/x` changed
    ");
    assert_snapshot!(scenario.live(mins(1)), @"");
    assert!(scenario.glass().unwrap().open);
}

#[test]
fn what_ends_it_before_its_time() {
    let ends = |what: fn(&mut Scenario)| {
        let mut scenario = serving();
        scenario.break_glass(mins(15));
        scenario.live(mins(1));
        what(&mut scenario);
        assert!(!scenario.glass().unwrap().open);
        let lines = scenario.live(secs(30));
        let of_it = lines.lines().filter(|line| line.contains("web-1"));
        of_it.map(str::trim).collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(ends(Scenario::end_glass), @r"
    0s freeze web-1: break-glass is over: it was ended before its time
    0s capture web-1: break-glass is over: it was ended before its time
    0s destroy web-1: break-glass is over: it was ended before its time
    ");
    assert_snapshot!(ends(|it| it.down(false)), @r"
    0s freeze web-1: break-glass is over: `phoenixd down`
    0s capture web-1: break-glass is over: `phoenixd down`
    0s destroy web-1: break-glass is over: `phoenixd down`
    ");
    assert_snapshot!(ends(|it| it.dies("web-1", 137)), @r"
    0s capture web-1: break-glass is over: its process ended
    0s remove web-1: break-glass is over: its process ended
    ");
    assert_snapshot!(ends(|it| it.change(|desired| desired.phoenix.surge = 0)), @r"
    0s freeze web-1: break-glass is over: only one container of the service may be there at a time now
    0s capture web-1: break-glass is over: only one container of the service may be there at a time now
    0s destroy web-1: break-glass is over: only one container of the service may be there at a time now
    ");
    assert_snapshot!(ends(Scenario::forget), @r"
    0s freeze web-1: break-glass is over: its service is not in the file any more
    0s capture web-1: break-glass is over: its service is not in the file any more
    0s destroy web-1: break-glass is over: its service is not in the file any more
    ");
}

#[test]
fn a_new_generation_and_a_supervisor_that_ends_leave_it_open() {
    let mut scenario = serving();
    scenario.break_glass(mins(15));
    scenario.live(mins(1));
    scenario.change(|desired| desired.spec_hash = phoenixd::spec::SpecHash::new("two"));
    scenario.live(mins(1));
    assert!(scenario.glass().unwrap().open);
    scenario.leave();
    assert!(scenario.settled());
    assert!(scenario.glass().unwrap().open);
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let said = |mut scenario: Scenario, replica: Option<&str>| {
        scenario.break_glass_of(replica, mins(15));
        scenario.request()
    };
    let mut surge = web();
    surge.phoenix.surge = 0;
    let mut surge = Scenario::of(surge).start();
    surge.live(mins(1));
    assert_snapshot!(said(surge, None), @r#"Some(Failed("only one of its containers may be there at a time (`surge: 0`), so no replacement can be started beside it"))"#);
    let mut ill = Scenario::of(web());
    ill.ill("web-1");
    let mut ill = ill.start();
    ill.live(secs(1));
    assert_snapshot!(said(ill, None), @r#"Some(Failed("`web` has no ready replica: web-1 is not ready"))"#);
    assert_snapshot!(said(serving(), Some("web-7\u{7}")), @r#"Some(Failed("`web` has no replica `web-7\\u{7}`"))"#);
    let mut journal = serving();
    let error = Some("disk full".to_owned());
    journal.apply(Event::Journal { error });
    assert_snapshot!(said(journal, None), @r#"Some(Failed("the journal cannot be written, and nobody gets in unrecorded: disk full"))"#);
    let mut twice = serving();
    twice.break_glass(mins(15));
    assert_snapshot!(said(twice, None), @r#"Some(Failed("web-1 is about to be broken open already"))"#);
    let mut twice = serving();
    twice.break_glass(mins(15));
    twice.live(secs(10));
    assert_snapshot!(said(twice, None), @r#"Some(Failed("web-1 is broken open already"))"#);
    let mut none = serving();
    none.end_glass();
    let status = none.world.plan(none.now).status;
    assert_snapshot!(format!("{:?}", status.requests[&RequestId(2)]), @r#"Failed("no break-glass is open for `web`")"#);
}

#[test]
fn when_no_replacement_comes_it_stays_where_it_is() {
    let mut scenario = serving();
    scenario.starts_fail(Some("no space"));
    scenario.break_glass(mins(15));
    scenario.live(secs(20));
    assert_snapshot!(scenario.request(), @r#"Some(Failed("web-2: no space"))"#);
    assert_snapshot!(scenario.routed(), @"web-1");
    scenario.starts_fail(None);
    assert_snapshot!(scenario.live(mins(5)), @"");
    assert_snapshot!(scenario.routed(), @"web-1");
}
