//! What was touched leaves the rotation at once, is frozen, recorded and replaced; what only looks like it is left alone.

use insta::assert_snapshot;
use phoenixd::reconcile::{
    Action, ContainerState, Door, Event, Exec, ExecFacts, Judged, Origin, Planned, Program, Socket,
    Touch,
};
use phoenixd::spec::{Allow, ContainerId, Declared, Listen, OnTaint, Peers, Transport};

use super::scenario::{Scenario, mins, secs, web};

pub(super) fn exec(command: &str) -> Touch {
    Touch::Exec(Exec {
        id: "e1".to_owned(),
        command: command.to_owned(),
        facts: None,
    })
}

/// One replica that has served for an hour of a TTL of many.
pub(super) fn serving() -> Scenario {
    let mut desired = web();
    desired.phoenix.ttl = mins(600);
    let mut scenario = Scenario::of(desired).start();
    scenario.live(mins(60));
    scenario
}

/// What the touches were judged to be.
pub(super) fn judged(scenario: &Scenario) -> String {
    let status = scenario.world.plan(scenario.now).status;
    let all = status.touched.iter();
    all.map(|it| format!("{} {}: {}", it.replica, it.judged.name(), it.touch.words()))
        .collect::<Vec<_>>()
        .join("\n")
}

pub(super) fn is_tainted_by(mut scenario: Scenario, touch: Touch) -> bool {
    scenario.touched("web-1", touch);
    let status = scenario.world.plan(scenario.now).status;
    let tainted = status.replicas.iter().any(|row| row.tainted.is_some());
    let judged = status.touched.iter().any(|it| it.judged == Judged::Taint);
    assert_eq!(tainted, judged);
    tainted
}

#[test]
fn what_was_touched_is_out_of_rotation_in_the_same_plan_and_replaced_at_once() {
    let mut scenario = serving();
    scenario.touched("web-1", exec("sh -i"));
    let step = scenario.world.plan(scenario.now);
    let routes = step.routes.unwrap();
    assert_eq!(routes.backends().count(), 0);
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s create web-2 (generation 1): replaces web-1: tainted: exec of `sh -i`
    0s start web-2: birth
    1s freeze web-1: tainted: exec of `sh -i`
    1s capture web-1: tainted: exec of `sh -i`
    1s destroy web-1: tainted: exec of `sh -i`
    ");
    assert_eq!(scenario.routed(), "web-2");
    assert_snapshot!(judged(&scenario), @"web-1 tainted: exec of `sh -i`");
}

#[test]
fn how_an_exec_that_taints_was_started_is_recorded_as_soon_as_it_is_known_and_once() {
    let mut scenario = serving();
    let facts = ExecFacts {
        arguments: vec!["sh".to_owned()],
        privileged: true,
        tty: true,
        stdin: false,
        user: "0".to_owned(),
    };
    let known = Touch::Exec(Exec {
        id: "e1".to_owned(),
        command: "sh".to_owned(),
        facts: Some(facts),
    });
    // The engine tells of its creation and of its start, and is asked after each.
    for touch in [exec("sh"), exec("sh"), known.clone(), known] {
        scenario.touched("web-1", touch);
    }
    assert_snapshot!(judged(&scenario), @r"
    web-1 tainted: exec of `sh`
    web-1 reported: exec of `sh` as `0`, with all capabilities, with a terminal
    ");
}

#[test]
fn a_freeze_waits_for_the_edge_and_not_for_long() {
    let mut scenario = serving();
    scenario.edge_works(false);
    scenario.touched("web-1", Touch::Door(Door::Attach));
    assert_snapshot!(scenario.live(secs(5)), @r"
       0s create web-2 (generation 1): replaces web-1: tainted: attach to its streams
       0s start web-2: birth
    250ms freeze web-1: tainted: attach to its streams
    250ms capture web-1: tainted: attach to its streams
    250ms destroy web-1: tainted: attach to its streams
    ");
}

#[test]
fn nothing_is_frozen_while_a_process_only_begins_in_it() {
    // Somebody starts one after the other: it is captured as it runs.
    let mut scenario = serving();
    let mut lines = Vec::new();
    for _ in 0..10 {
        if scenario.containers.values().any(|it| it.name == "p-web-1") {
            scenario.touched("web-1", exec("sh"));
        }
        lines.push(scenario.live(std::time::Duration::from_millis(500)));
    }
    lines.retain(|line| !line.is_empty());
    assert_snapshot!(lines.join("\n"), @r"
    0s create web-2 (generation 1): replaces web-1: tainted: exec of `sh`
    0s start web-2: birth
    0s capture web-1: tainted: exec of `sh`
    0s destroy web-1: tainted: exec of `sh`
    ");
    // Docker's own health check may begin at any moment.
    let mut scenario = super::checks::checked();
    scenario.touched("web-1", Touch::Door(Door::Attach));
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s capture web-1: tainted: attach to its streams
    0s create web-2 (generation 1): replaces web-1: tainted: attach to its streams
    0s destroy web-1: tainted: attach to its streams
    0s start web-2: birth
    ");
}

#[test]
fn where_only_one_can_be_there_the_replacement_waits_for_its_end() {
    let mut desired = web();
    desired.phoenix.surge = 0;
    desired.phoenix.ttl = mins(600);
    let mut scenario = Scenario::of(desired).start();
    scenario.live(mins(60));
    scenario.touched("web-1", Touch::Door(Door::Attach));
    assert_snapshot!(scenario.live(secs(5)), @r"
          0s freeze web-1: tainted: attach to its streams
          0s capture web-1: tainted: attach to its streams
          0s destroy web-1: tainted: attach to its streams
          0s create web-2 (generation 1): 0 of 1 replicas live
          0s start web-2: birth
    ");
}

#[test]
fn report_only_records() {
    let mut scenario = serving();
    scenario.change(|desired| desired.phoenix.on_taint = OnTaint::Report);
    scenario.touched("web-1", exec("sh"));
    assert_eq!(scenario.live(secs(5)), "");
    assert_eq!(scenario.routed(), "web-1");
    assert_snapshot!(judged(&scenario), @"web-1 reported: exec of `sh`");
    // What is replaced stays replaced.
    scenario.change(|desired| desired.phoenix.on_taint = OnTaint::Replace);
    scenario.touched("web-1", Touch::Door(Door::Commit));
    scenario.change(|desired| desired.phoenix.on_taint = OnTaint::Report);
    scenario.live(secs(5));
    assert_eq!(scenario.routed(), "web-2");
}

#[test]
fn a_touch_is_told_once_and_memory_is_bounded() {
    let mut scenario = serving();
    scenario.change(|desired| desired.phoenix.on_taint = OnTaint::Report);
    for number in 0..1000_u32 {
        let path = format!("/tmp/{number}");
        let program = Program {
            pid: number,
            origin: Origin::Mount,
            path,
        };
        scenario.touched("web-1", exec("sh"));
        scenario.touched("web-1", Touch::Program(program));
    }
    assert_eq!(judged(&scenario).lines().count(), 64);
}

#[test]
fn a_program_on_a_volume_is_only_told_and_any_other_that_was_brought_taints() {
    let runs = |origin| {
        Touch::Program(Program {
            pid: 7,
            origin,
            path: "/data/x".to_owned(),
        })
    };
    for brought in [
        Origin::Memory,
        Origin::Removed,
        Origin::Mount,
        Origin::Layer,
    ] {
        assert!(is_tainted_by(serving(), runs(brought)), "{brought:?}");
    }
    assert!(!is_tainted_by(serving(), runs(Origin::Volume)));
    // A root that the file leaves writable is there to be written to.
    let mut scenario = serving();
    scenario.change(|desired| desired.policy.read_only = false);
    assert!(!is_tainted_by(scenario, runs(Origin::Layer)));
    // And what the file lets run from a tmpfs runs from there.
    let mut scenario = serving();
    scenario.change(|desired| desired.phoenix.allow.extend([Allow::TmpfsExec]));
    assert!(!is_tainted_by(scenario, runs(Origin::Mount)));
}

#[test]
fn words_of_a_touch_can_be_shown() {
    let touch = exec(&format!("sh\n\u{1b}[2J\u{202e}é {}", "x".repeat(5000)));
    let words = touch.words();
    assert!(
        words.starts_with(r"exec of `sh\n\u{1b}[2J\u{202e}é x"),
        "{words}"
    );
    assert!(words.chars().count() < 350);
}

#[test]
fn a_killed_supervisor_s_successor_finishes_what_it_began() {
    for done in 0..6 {
        let mut scenario = serving();
        scenario.touched("web-1", exec("sh"));
        let mut lines = Vec::new();
        scenario.act(done, &mut lines);
        scenario.restart();
        lines.push("next supervisor:".to_owned());
        let rest = scenario.live(mins(1));
        assert_eq!(scenario.routed(), "web-2", "{lines:?}\n{rest}");
        assert!(scenario.containers.len() == 1, "{lines:?}\n{rest}");
    }
}

#[test]
fn a_taint_that_only_the_journal_knows_stays_one_whatever_the_file_says_since() {
    let mut scenario = serving();
    scenario.touched("web-1", exec("sh"));
    scenario.change(|desired| desired.phoenix.on_taint = OnTaint::Report);
    scenario.restart();
    // A second supervisor is killed before it could do anything, too.
    scenario.restart();
    let step = scenario.world.plan(scenario.now);
    let routes = step.routes.unwrap_or_default();
    assert_eq!(routes.backends().count(), 0);
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s freeze web-1: tainted: exec of `sh`, as the journal says
    0s create web-2 (generation 1): replaces web-1: tainted: exec of `sh`, as the journal says
    0s capture web-1: tainted: exec of `sh`, as the journal says
    0s start web-2: birth
    0s destroy web-1: tainted: exec of `sh`, as the journal says
    ");
    assert_snapshot!(judged(&scenario), @"web-1 tainted: exec of `sh`, as the journal says");
}

#[test]
fn that_the_supervisor_before_froze_what_it_judged_tainted_is_no_touch_of_its_own() {
    let mut scenario = serving();
    scenario.touched("web-1", exec("sh"));
    let id = scenario.id_of("web-1");
    scenario.containers.get_mut(&id).unwrap().state = ContainerState::Paused;
    scenario.restart();
    scenario.touched("web-1", Touch::Door(Door::Pause));
    assert_snapshot!(judged(&scenario), @"web-1 tainted: exec of `sh`, as the journal says");
}

#[test]
fn a_record_of_what_is_gone_or_does_not_answer_yet_harms_nobody() {
    let mut scenario = serving();
    let (id, gone) = (scenario.id_of("web-1"), ContainerId::new("gone"));
    scenario.restart();
    let taints = [(gone, "attach".to_owned())].into();
    scenario.apply(Event::Remembered(taints));
    assert_eq!(scenario.live(secs(60)), "");
    // The engine lists it and tells nothing about it: it is a taint as soon as it is seen.
    let mut scenario = serving();
    scenario.touched("web-1", exec("sh"));
    scenario.silent.insert(id.clone());
    scenario.restart();
    scenario.live(secs(60));
    scenario.silent.clear();
    scenario.list();
    let rest = scenario.live(secs(60));
    assert!(!scenario.containers.contains_key(&id), "{rest}");
}

#[test]
fn a_frozen_replica_that_nobody_here_froze_is_tainted() {
    let mut scenario = serving();
    let id = scenario.id_of("web-1");
    scenario.containers.get_mut(&id).unwrap().state = ContainerState::Paused;
    scenario.restart();
    assert_snapshot!(scenario.live(secs(5)), @r"
    0s capture web-1: tainted: pause, as `docker commit` does as well
    0s create web-2 (generation 1): replaces web-1: tainted: pause, as `docker commit` does as well
    0s destroy web-1: tainted: pause, as `docker commit` does as well
    0s start web-2: birth
    ");
    assert_eq!(scenario.routed(), "web-2");
}

/// Somebody starts `web-1` again, ten minutes after it was made.
fn restarted(scenario: &mut Scenario) {
    let id = scenario.id_of("web-1");
    let now = scenario.now;
    let observed = scenario.containers.get_mut(&id).unwrap();
    observed.second_life = Some(now.minus(mins(10)));
    observed.started = Some(now);
    scenario.list();
}

#[test]
fn a_replica_that_somebody_started_again_is_tainted_whoever_saw_it() {
    let mut scenario = serving();
    restarted(&mut scenario);
    let told = scenario.live(secs(5));
    assert!(
        told.contains("create web-2 (generation 1): replaces web-1: tainted: restart"),
        "{told}"
    );
    assert!(told.contains("destroy web-1: tainted: restart"), "{told}");
    assert_eq!(scenario.routed(), "web-2");
}

#[test]
fn a_replica_that_somebody_started_again_is_no_younger_for_that() {
    let mut scenario = serving();
    scenario.change(|desired| {
        desired.phoenix.on_taint = OnTaint::Report;
        desired.phoenix.ttl = mins(12);
    });
    restarted(&mut scenario);
    assert_eq!(scenario.live(secs(5)), "", "it is only recorded");
    let told = scenario.live(mins(3));
    assert!(
        told.contains("replaces web-1: its life of 12m ends"),
        "{told}"
    );
}

#[test]
fn what_a_pause_was_for_is_recorded_also_when_the_evidence_is_there() {
    let mut scenario = serving();
    scenario.touched("web-1", Touch::Door(Door::Pause));
    let mut lines = Vec::new();
    let id = scenario.id_of("web-1");
    // Up to where it would be destroyed.
    while !lines.iter().any(|line: &String| line.contains("capture")) {
        scenario.now = scenario.now + std::time::Duration::from_millis(300);
        scenario.act(1, &mut lines);
    }
    assert!(scenario.containers.contains_key(&id), "{lines:?}");
    scenario.touched("web-1", Touch::Door(Door::Commit));
    scenario.touched("web-1", Touch::Door(Door::Attach));
    assert_snapshot!(judged(&scenario), @r"
    web-1 tainted: pause, as `docker commit` does as well
    web-1 tainted: commit to an image
    ");
}

#[test]
fn evidence_that_cannot_be_had_keeps_nobody() {
    let mut scenario = serving();
    scenario.captures_fail = Some("the disk is full".to_owned());
    scenario.touched("web-1", exec("sh"));
    assert_snapshot!(scenario.live(secs(5)), @r"
          0s create web-2 (generation 1): replaces web-1: tainted: exec of `sh`
          0s start web-2: birth
          1s freeze web-1: tainted: exec of `sh`
          1s capture web-1: tainted: exec of `sh`
    1s 250ms destroy web-1: tainted: exec of `sh`
    ");
}

#[test]
fn it_is_seized_in_every_state() {
    // Draining.
    let mut scenario = serving();
    scenario.recycle();
    scenario.open("web-1", 1);
    scenario.live(secs(1));
    scenario.touched("web-1", exec("sh"));
    assert_snapshot!(scenario.live(secs(1)), @r"
    1s freeze web-1: tainted: exec of `sh`
    1s capture web-1: tainted: exec of `sh`
    1s destroy web-1: tainted: exec of `sh`
    ");
    // Starting.
    let mut scenario = Scenario::of(web()).start();
    scenario.ill("web-1");
    scenario.live(secs(2));
    scenario.touched("web-1", exec("sh"));
    assert_snapshot!(scenario.live(secs(4)), @r"
    1s freeze web-1: tainted: exec of `sh`
    1s create web-2 (generation 1): replaces web-1: tainted: exec of `sh`
    1s capture web-1: tainted: exec of `sh`
    1s start web-2: birth
    1s destroy web-1: tainted: exec of `sh`
    ");
    // During a down.
    let mut scenario = serving();
    scenario.open("web-1", 1);
    scenario.down(false);
    scenario.live(secs(1));
    scenario.touched("web-1", exec("sh"));
    assert_snapshot!(scenario.live(secs(1)), @r"
    1s freeze web-1: tainted: exec of `sh`
    1s capture web-1: tainted: exec of `sh`
    1s destroy web-1: tainted: exec of `sh`
    1s remove network p_default: `phoenixd down`
    ");
    // Its process ended before anything was done.
    let mut scenario = serving();
    scenario.touched("web-1", Touch::OutOfMemory);
    scenario.dies("web-1", 137);
    assert_snapshot!(scenario.live(secs(1)), @r"
    0s capture web-1: tainted: a process was killed for memory
    0s create web-2 (generation 1): replaces web-1: tainted: a process was killed for memory
    0s remove web-1: tainted: a process was killed for memory
    0s start web-2: birth
    ");
    // Made, and not started.
    let mut scenario = Scenario::of(web()).start();
    // The first table is published, then it is made.
    scenario.act(2, &mut Vec::new());
    scenario.touched("web-1", Touch::Door(Door::CopyIn));
    assert_snapshot!(scenario.live(secs(4)), @r"
    0s capture web-1: tainted: copy of files into it
    0s remove web-1: tainted: copy of files into it
    1s create web-2 (generation 1): 0 of 1 replicas live
    1s start web-2: birth
    ");
}

#[test]
fn what_was_done_before_it_was_seen_counts() {
    let mut scenario = Scenario::of(web()).with_running(1, "one", mins(1));
    let id = scenario.id_of("web-1");
    scenario.apply(Event::Wanted(scenario.wanted.clone()));
    let touch = exec("sh");
    scenario.apply(Event::Touched { id, touch });
    scenario.list();
    assert_snapshot!(judged(&scenario), @"web-1 tainted: exec of `sh`");
}

#[test]
fn whoever_taints_each_newborn_meets_the_backoff_and_the_budget() {
    let mut desired = web();
    desired.phoenix.backoff.budget = 3;
    let mut scenario = Scenario::of(desired).start();
    let mut births = 0;
    for serial in 1..200 {
        let before = scenario.now;
        while !scenario
            .containers
            .values()
            .any(|it| it.name == format!("p-web-{serial}"))
        {
            scenario.live(secs(1));
            assert!(scenario.now.since(before) < mins(11), "it is born at all");
        }
        births += 1;
        scenario.touched(&format!("web-{serial}"), exec("sh"));
        if scenario.now.since(before) > mins(4) {
            break;
        }
    }
    assert!(births < 8, "{births}");
    scenario.live(secs(1));
    assert_snapshot!(scenario.plan(), @"web waits: backoff, 4m 59s left after failure 4: web-4: tainted: exec of `sh`");
}

#[test]
fn a_socket_is_judged_by_what_the_file_declares() {
    let listens = |address: &str, transport| {
        Touch::Listens(Socket {
            transport,
            address: address.parse().unwrap(),
        })
    };
    let connected = |address: &str| {
        Touch::Connected(Socket {
            transport: Transport::Tcp,
            address: address.parse().unwrap(),
        })
    };
    let told = |network: Declared, touch: Touch| {
        let mut scenario = serving();
        scenario.change(|desired| desired.phoenix.network = network);
        scenario.touched("web-1", touch);
        judged(&scenario)
    };
    let declared = Declared {
        listen: Listen::parse("9090/udp").map(|one| vec![one]),
        connect: Peers::parse("10.0.0.0/8:5432").map(|one| vec![one]),
        enforce: false,
    };
    let enforced = Declared {
        enforce: true,
        ..declared.clone()
    };
    let undeclared = "0.0.0.0:4444";
    assert_eq!(
        told(Declared::default(), listens(undeclared, Transport::Tcp)),
        ""
    );
    assert_snapshot!(told(declared.clone(), listens(undeclared, Transport::Tcp)), @"web-1 reported: it listens on 0.0.0.0:4444/tcp");
    assert_snapshot!(told(enforced.clone(), listens(undeclared, Transport::Tcp)), @"web-1 tainted: it listens on 0.0.0.0:4444/tcp");
    assert_snapshot!(told(enforced.clone(), listens("[::]:9090", Transport::Tcp)), @"web-1 tainted: it listens on [::]:9090/tcp");
    assert_eq!(
        told(enforced.clone(), listens("[::]:9090", Transport::Udp)),
        ""
    );
    // The target of a published port, and what only the container itself reaches.
    assert_eq!(
        told(enforced.clone(), listens("0.0.0.0:80", Transport::Tcp)),
        ""
    );
    assert_eq!(
        told(enforced.clone(), listens("127.0.0.11:3333", Transport::Udp)),
        ""
    );
    assert_eq!(told(enforced.clone(), connected("10.1.2.3:5432")), "");
    assert_eq!(told(enforced.clone(), connected("127.0.0.1:1")), "");
    assert_snapshot!(told(declared, connected("192.0.2.1:443")), @"web-1 reported: it is connected to 192.0.2.1:443/tcp");
    assert_snapshot!(told(enforced, connected("192.0.2.1:443")), @"web-1 tainted: it is connected to 192.0.2.1:443/tcp");
}

#[test]
fn however_much_is_only_reported_what_taints_does() {
    let undeclared = |number: u16| {
        Touch::Connected(Socket {
            transport: Transport::Tcp,
            address: ([192, 0, 2, 1], number).into(),
        })
    };
    let mut scenario = serving();
    scenario.change(|desired| {
        desired.phoenix.network.connect = Peers::parse("10.0.0.0/8:5432").map(|one| vec![one]);
    });
    for number in 1..=200 {
        scenario.touched("web-1", undeclared(number));
    }
    assert!(is_tainted_by(scenario, exec("sh")));
}

#[test]
fn what_is_only_reported_by_wish_is_reported_however_often() {
    let mut scenario = serving();
    scenario.change(|desired| desired.phoenix.on_taint = OnTaint::Report);
    for number in 1..=200 {
        let id = format!("e{number}");
        let command = format!("sh {number}");
        let facts = None;
        scenario.touched("web-1", Touch::Exec(Exec { id, command, facts }));
    }
    let told = judged(&scenario);
    assert!(told.ends_with("web-1 reported: exec of `sh 200`"), "{told}");
}

#[test]
fn what_the_file_lets_change_may_change() {
    let changed = || Touch::Changed(Some("/var/log/app".to_owned()));
    assert!(is_tainted_by(serving(), changed()));
    let mut writable = serving();
    writable.change(|desired| desired.policy.read_only = false);
    assert!(!is_tainted_by(writable, changed()));
    let moved = || Touch::ImageMoved("app:1".to_owned());
    assert!(!is_tainted_by(serving(), moved()), "it is of the old one");
    // Once, however often it moves back and forth.
    let mut scenario = serving();
    for _ in 0..3 {
        scenario.touched("web-1", moved());
    }
    assert_snapshot!(judged(&scenario), @"web-1 reported: its image's tag `app:1` names another image");
    assert_eq!(scenario.live(secs(60)), "");
    // What is born is of the image of the start all the same.
    scenario.recycle();
    let actions = scenario.world.plan(scenario.now).actions;
    let by_id =
        |it: &Planned| matches!(&it.action, Action::Create { image, .. } if image.is_some());
    assert!(actions.iter().any(by_id), "{actions:?}");
    assert!(is_tainted_by(
        serving(),
        Touch::Privileges("CapEff 1".to_owned())
    ));
}

#[test]
fn another_name_or_network_is_somebody_s_doing() {
    let mut renamed = serving();
    let id = renamed.id_of("web-1");
    renamed.containers.get_mut(&id).unwrap().name = "mine".to_owned();
    renamed.list();
    assert_snapshot!(judged(&renamed), @"web-1 tainted: rename to `mine`");
    let mut connected = serving();
    let id = connected.id_of("web-1");
    let networks = &mut connected.containers.get_mut(&id).unwrap().networks;
    networks.insert(phoenixd::spec::NetworkName::new("evil"), None);
    connected.live(secs(1));
    connected.list();
    assert_snapshot!(judged(&connected), @"web-1 tainted: change of its networks");
}

#[test]
fn a_rename_is_judged_by_the_name_that_was_given() {
    let renamed = |name: &str| Touch::Renamed(name.to_owned());
    assert!(is_tainted_by(serving(), renamed("mine")));
    // Back to its own, of which the first half was told as well.
    assert!(!is_tainted_by(serving(), renamed("p-web-1")));
    assert!(is_tainted_by(serving(), renamed("p-web-2")));
    // A mark that phoenixd did not give.
    assert!(is_tainted_by(serving(), renamed("p-web-1.break-glass-1")));
}

#[test]
fn what_depends_on_a_tainted_replica_waits_for_the_next_one() {
    let mut scenario = serving();
    scenario.ill("every one");
    scenario.touched("web-1", exec("sh"));
    scenario.live(secs(1));
    let status = scenario.world.plan(scenario.now).status;
    assert!(status.services.values().all(|service| service.ready == 0));
}
