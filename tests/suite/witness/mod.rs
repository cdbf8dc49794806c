//! What the scan of `/proc` finds, and what it must not take for a finding, on a `/proc` made of files.
#![expect(clippy::expect_used, reason = "tests fail by panicking")]

mod evidence;
mod tree;

use std::fs;
use std::time::Duration;

use phoenixd::reconcile::Touch;
use phoenixd::witness::{Found, Scanner, Watched};

use tree::{HOST, INSIDE, Made, Tree, id, of_container, of_host, watched};

const BEGIN: Duration = Duration::from_secs(1000);

fn scanner(tree: &Tree) -> Scanner {
    let mut scanner = Scanner::new(tree.root());
    scanner.watch(&[watched()]);
    assert_eq!(scanner.full(BEGIN), [], "a clean container");
    scanner
}

fn texts(found: &Found) -> Vec<String> {
    found
        .iter()
        .inspect(|(container, _)| assert_eq!(*container, id("0f")))
        .map(|(_, touch)| touch.to_string())
        .collect()
}

/// What a full pass finds when these are there, too; a quick one must find the same.
#[track_caller]
fn check(made: &[Made], expected: &[&str]) {
    let tree = Tree::new();
    let (mut full, mut quick) = (scanner(&tree), scanner(&tree));
    for one in made {
        tree.make(one);
    }
    tree.last(made.iter().map(|one| one.pid).max().unwrap_or(101));
    let later = BEGIN + Duration::from_secs(1);
    let found = full.full(later);
    assert_eq!(texts(&found), expected, "a full pass");
    assert_eq!(full.full(later), [], "told once");
    assert_eq!(texts(&quick.quick(later)), expected, "a quick pass");
    assert_eq!(quick.quick(later), [], "told once");
}

#[test]
fn a_process_below_the_shim_that_is_not_process_1_is_an_intruder_and_its_children_are_not_told_apart()
 {
    check(
        &[
            of_container(200, 50, "sh"),
            of_container(201, 200, "id"),
            of_container(202, 201, "cat"),
        ],
        &["process 200 (`sh`) was started in it from outside"],
    );
    // `runc exec` that waits for its process is its parent.
    check(
        &[of_host(200, 50, "runc"), of_container(201, 200, "sh")],
        &["process 201 (`sh`) was started in it from outside"],
    );
}

#[test]
fn what_process_1_started_is_no_intruder_however_it_was_forked() {
    check(
        &[
            of_container(200, 101, "worker"),
            of_container(201, 200, "worker"),
            // An orphan, and one whose parent has just ended.
            of_container(202, 100, "daemon"),
            of_container(203, 999, "orphan"),
            Made {
                state: 'Z',
                ..of_container(204, 50, "dead")
            },
        ],
        &[],
    );
}

#[test]
fn a_process_on_its_way_in_is_told_once_it_is_the_program() {
    let tree = Tree::new();
    let mut scanner = scanner(&tree);
    let entering = Made {
        arguments: vec!["runc", "init"],
        ..of_container(200, 50, "runc:[2:INIT]")
    };
    tree.make(&entering);
    tree.last(200);
    assert_eq!(scanner.quick(BEGIN), []);
    let executing = Made {
        arguments: Vec::new(),
        ..of_container(200, 50, "sh")
    };
    tree.make(&executing);
    assert_eq!(scanner.quick(BEGIN), []);
    tree.make(&of_container(200, 50, "sh"));
    let expected = ["process 200 (`sh`) was started in it from outside"];
    assert_eq!(texts(&scanner.quick(BEGIN)), expected);
}

#[test]
fn who_calls_itself_the_runtime_is_not_taken_for_it_for_long_and_never_inside() {
    let tree = Tree::new();
    let mut scanner = scanner(&tree);
    let posing = of_container(200, 50, "runc:[2:INIT]");
    tree.make(&posing);
    tree.last(200);
    assert_eq!(scanner.quick(BEGIN), []);
    let later = BEGIN + Duration::from_secs(11);
    assert_eq!(scanner.quick(later).len(), 1);
}

#[test]
fn a_process_of_another_cgroup_in_the_namespaces_is_an_intruder() {
    let entered = |pid, namespaces| Made {
        namespaces,
        ..of_host(pid, 1, "bash")
    };
    check(
        &[entered(200, [11, 2, 3]), entered(201, [1, 12, 3])],
        &[
            "process 200 (`bash`) entered its namespaces",
            "process 201 (`bash`) entered its namespaces",
        ],
    );
    let sibling = Made {
        container: Some(id("1e")),
        namespaces: [21, 12, 23],
        ..of_container(200, 60, "spy")
    };
    check(
        &[of_host(60, 1, "containerd-shim"), sibling],
        &["process 200 (`spy`) of container 1e1e1e1e1e1e is in its namespaces"],
    );
}

#[test]
fn the_engine_that_enters_a_network_for_a_moment_is_no_intruder_and_who_stays_is() {
    let tree = Tree::new();
    let mut scanner = scanner(&tree);
    let beside = Made {
        namespaces: [1, 2, 13],
        ..of_host(200, 1, "dockerd")
    };
    tree.make(&beside);
    tree.last(200);
    assert_eq!(scanner.quick(BEGIN), []);
    assert_eq!(scanner.quick(BEGIN + Duration::from_millis(100)), []);
    let stays = scanner.quick(BEGIN + Duration::from_millis(300));
    assert_eq!(
        texts(&stays),
        ["process 200 (`dockerd`) entered its namespaces"]
    );

    let thread = Made {
        thread_of: Some(1),
        namespaces: INSIDE,
        ..of_host(201, 0, "dockerd")
    };
    check(&[thread], &[]);
}

#[test]
fn who_enters_the_network_of_a_pod_is_told_and_an_edge_that_is_not_known_yet_is_not() {
    let of = |visitor: &Made| {
        let tree = Tree::new();
        let pause = Watched {
            in_pod: true,
            ..watched()
        };
        // Its edge: another container, other namespaces, the same network.
        let edge = Made {
            container: Some(id("0e")),
            namespaces: [21, 22, 13],
            ..of_host(150, 50, "phoenixd")
        };
        tree.make(&edge);
        let mut scanner = Scanner::new(tree.root());
        let edge = Watched {
            id: id("0e"),
            pid: 150,
            ..pause.clone()
        };
        scanner.watch(&[pause, edge]);
        assert_eq!(scanner.full(BEGIN), [], "pause and edge");
        tree.make(visitor);
        tree.last(200);
        let times = [0, 300, 3000, 11_000].map(Duration::from_millis);
        times.map(|time| {
            let found = scanner.full(BEGIN + time);
            let texts = found.iter().map(|(_, touch)| touch.to_string());
            texts.collect::<Vec<_>>().join("; ")
        })
    };
    let network = [1, 2, 13];
    let by_hand = Made {
        namespaces: network,
        ..of_host(200, 1, "tcpdump")
    };
    let told = "process 200 (`tcpdump`) entered its pod's network";
    assert_eq!(of(&by_hand), ["", told, "", ""]);
    let container = Made {
        container: Some(id("0c")),
        namespaces: [31, 32, 13],
        ..of_host(200, 60, "next")
    };
    let [first, soon, later, at_last] = of(&container);
    assert_eq!([first, soon, later], [""; 3]);
    assert!(
        at_last.starts_with("process 200 (`next`) entered its pod's network from container 0c"),
        "{at_last}"
    );
}

#[test]
fn what_the_engine_starts_in_a_network_may_wait_there_and_not_for_ever() {
    let of = |parent: Made, expected: [usize; 2]| {
        let tree = Tree::new();
        let mut scanner = scanner(&tree);
        let child = Made {
            namespaces: [1, 2, 13],
            ..of_host(200, parent.pid, "iptables")
        };
        tree.make(&parent);
        tree.make(&child);
        tree.last(200);
        assert_eq!(scanner.quick(BEGIN), []);
        let after = |time| BEGIN + time;
        let found = [Duration::from_secs(2), Duration::from_secs(11)]
            .map(|time| scanner.quick(after(time)).len());
        assert_eq!(found, expected, "a child of {}", parent.name);
    };
    of(of_host(60, 1, "dockerd"), [0, 1]);
    of(of_host(60, 1, "bash"), [1, 0]);
    let posing = Made {
        container: Some(id("1e")),
        ..of_host(60, 1, "dockerd")
    };
    of(posing, [1, 0]);
    // In the container's own mounts nobody of the engine has any business.
    let tree = Tree::new();
    let mut scanner = scanner(&tree);
    tree.make(&of_host(60, 1, "dockerd"));
    tree.make(&Made {
        namespaces: [11, 2, 13],
        ..of_host(200, 60, "iptables")
    });
    tree.last(200);
    assert_eq!(scanner.quick(BEGIN).len(), 1);
}

#[test]
fn namespaces_of_a_container_that_has_ended_are_the_next_one_s() {
    let tree = Tree::new();
    let mut scanner = scanner(&tree);
    tree.end(100);
    // The kernel gives the numbers of what is gone again.
    tree.make(&of_host(60, 1, "containerd-shim"));
    tree.make(&Made {
        container: Some(id("1e")),
        namespaces: INSIDE,
        ..of_container(200, 60, "next")
    });
    tree.last(200);
    assert_eq!(scanner.quick(BEGIN + Duration::from_secs(1)), []);
}

#[test]
fn namespaces_that_a_container_has_in_common_with_its_host_tell_nothing() {
    let tree = Tree::new();
    tree.make(&Made {
        namespaces: [11, 12, 3],
        ..of_container(100, 50, "docker-init")
    });
    let mut scanner = scanner(&tree);
    tree.make(&of_host(200, 1, "sshd"));
    assert_eq!(HOST, [1, 2, 3]);
    assert_eq!(scanner.full(BEGIN + Duration::from_secs(9)), []);
}

#[test]
fn a_runtime_that_starts_something_is_told_with_its_arguments_and_its_process_is_not_told_again() {
    let tree = Tree::new();
    let mut scanner = scanner(&tree);
    let own = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
    let runtime = Made {
        arguments: vec!["runc", "--root", "/r", "exec", "--process", "/tmp/p", own],
        ..of_host(200, 50, "runc")
    };
    tree.make(&runtime);
    tree.last(200);
    // It may be gone before its file is read.
    assert_eq!(scanner.quick(BEGIN), []);
    fs::create_dir_all(tree.path(200).join("root/tmp")).expect("create");
    let process = r#"{"args":["sh","-c","curl localhost"],"user":{"uid":65534},"env":["PASSWORD=x"],"cwd":"/"}"#;
    fs::write(tree.path(200).join("root/tmp/p"), process).expect("write");
    let found = scanner.quick(BEGIN);
    let [(_, Touch::Intruder(intruder))] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(intruder.arguments, ["sh", "-c", "curl localhost"]);
    assert_eq!(
        (intruder.uid, intruder.cap_bounding),
        (Some(65534), Some(0))
    );
    assert!(!format!("{found:?}").contains("PASSWORD"));
    // A shell becomes the last program that it is asked for, so that its arguments are others now.
    tree.make(&of_container(201, 200, "curl"));
    tree.last(201);
    assert_eq!(scanner.quick(BEGIN), []);
    // A second process has no start of its own.
    tree.make(&of_container(202, 50, "sh"));
    tree.last(202);
    assert_eq!(scanner.quick(BEGIN).len(), 1);
}

#[test]
fn a_runtime_that_is_the_shim_s_child_for_long_is_told_once_it_is_the_runtime() {
    let tree = Tree::new();
    let mut scanner = scanner(&tree);
    tree.make(&of_host(200, 50, "containerd-shim"));
    tree.last(200);
    for _ in 0..20 {
        assert_eq!(scanner.quick(BEGIN), []);
    }
    let own = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
    tree.make(&Made {
        arguments: vec!["runc", "exec", own, "sh"],
        ..of_host(200, 50, "runc")
    });
    assert_eq!(scanner.quick(BEGIN).len(), 1);
}

#[test]
fn on_a_slow_host_a_process_is_of_a_start_when_it_is_what_was_asked_for() {
    let own = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
    let runtime = Made {
        arguments: vec!["runc", "exec", own, "sh"],
        ..of_host(200, 50, "runc")
    };
    // Seconds later, in ticks of 10 ms.
    let late = |pid, name| Made {
        started: 700,
        ..of_container(pid, 50, name)
    };
    let start = "process 200 (`sh`) was started in it from outside";
    check(&[runtime.clone(), late(201, "sh")], &[start]);
    let other = "process 201 (`id`) was started in it from outside";
    check(&[runtime, late(201, "id")], &[start, other]);
}

#[test]
fn who_entered_without_a_start_that_was_seen_is_told_again_while_it_is_there() {
    let tree = Tree::new();
    let mut scanner = scanner(&tree);
    tree.make(&of_container(200, 50, "sh"));
    tree.last(200);
    assert_eq!(scanner.quick(BEGIN).len(), 1);
    let after = |seconds| BEGIN + Duration::from_secs(seconds);
    assert_eq!(scanner.quick(after(1)), []);
    assert_eq!(scanner.quick(after(2)).len(), 1);
    assert_eq!(scanner.full(after(3)), []);
    // With what it is by then.
    tree.make(&of_container(200, 50, "nc"));
    let again = ["process 200 (`nc`) was started in it from outside"];
    assert_eq!(texts(&scanner.full(after(4))), again);
    tree.end(200);
    assert_eq!(scanner.quick(after(6)), []);
    assert_eq!(scanner.full(after(6)), []);
    // Whose start was seen is not.
    let own = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
    tree.make(&Made {
        arguments: vec!["runc", "exec", own, "sh"],
        ..of_host(300, 50, "runc")
    });
    tree.make(&of_container(301, 300, "sh"));
    tree.last(301);
    assert_eq!(scanner.full(after(7)).len(), 1);
    assert_eq!(scanner.full(after(17)), []);
}

#[test]
fn a_runtime_that_has_not_said_so_by_its_name_yet_is_no_process_that_was_started() {
    let tree = Tree::new();
    let mut scanner = scanner(&tree);
    let init = Made {
        arguments: vec!["runc", "init"],
        uid: 0,
        ..of_container(200, 50, "runc")
    };
    tree.make(&init);
    tree.last(200);
    assert_eq!(scanner.quick(BEGIN), []);
    assert_eq!(scanner.quick(BEGIN + Duration::from_secs(9)), []);
    assert_eq!(scanner.quick(BEGIN + Duration::from_secs(11)).len(), 1);
}

#[test]
fn a_start_in_a_container_that_counts_its_users_itself_is_told_without_its_user() {
    let own = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
    for (map, uid) in [("0 0 4294967295\n", Some(7)), ("0 100000 65536\n", None)] {
        let tree = Tree::new();
        fs::write(tree.path(100).join("uid_map"), map).expect("write");
        let mut scanner = scanner(&tree);
        tree.make(&Made {
            arguments: vec!["runc", "exec", "--process", "/p", own],
            ..of_host(200, 50, "runc")
        });
        fs::create_dir_all(tree.path(200).join("root")).expect("create");
        let process = r#"{"args":["sh"],"user":{"uid":7}}"#;
        fs::write(tree.path(200).join("root/p"), process).expect("write");
        tree.last(200);
        let found = scanner.quick(BEGIN);
        let [(_, Touch::Intruder(intruder))] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(intruder.uid, uid, "{map}");
    }
}

#[test]
fn nobody_but_root_is_taken_for_a_runtime() {
    let own = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
    let user = Made {
        arguments: vec!["runc", "exec", own, "sh"],
        uid: 1000,
        ..of_host(200, 1, "runc")
    };
    check(std::slice::from_ref(&user), &[]);
    let thread = Made {
        thread_of: Some(199),
        uid: 0,
        ..user.clone()
    };
    check(&[thread], &[]);
    check(
        &[Made { uid: 0, ..user }],
        &["process 200 (`sh`) was started in it from outside"],
    );
}

#[test]
fn what_a_process_may_do_beyond_its_birth_is_told() {
    check(
        &[Made {
            capabilities: 1,
            ..of_container(200, 100, "app")
        }],
        &[
            "a process has more privileges: CapPrm 0000000000000001",
            "a process has more privileges: CapEff 0000000000000001",
            "a process has more privileges: CapBnd 0000000000000001",
        ],
    );
}

#[test]
fn nothing_is_believed_of_a_container_whose_process_1_is_not_the_program_yet() {
    let tree = Tree::new();
    tree.make(&Made {
        capabilities: 0xff,
        ..of_container(100, 50, "runc:[2:INIT]")
    });
    let mut scanner = Scanner::new(tree.root());
    scanner.watch(&[watched()]);
    tree.make(&of_container(200, 50, "sh"));
    assert_eq!(scanner.full(BEGIN), []);
    tree.make(&of_container(100, 50, "docker-init"));
    assert_eq!(scanner.full(BEGIN).len(), 1);
    // Its number was given to another.
    tree.make(&of_host(100, 1, "other"));
    assert_eq!(scanner.full(BEGIN), []);
}

#[test]
fn a_proc_that_is_no_proc_finds_nothing() {
    let tree = Tree::new();
    for (file, text) in [
        ("stat", ""),
        ("stat", "100 (x) S"),
        ("status", "Tgid: x"),
        ("cgroup", ""),
        ("cmdline", "\0\0"),
        ("mountinfo", "\u{0} / /"),
    ] {
        tree.make(&of_container(200, 50, "sh"));
        fs::write(tree.path(200).join(file), text).expect("write");
        let mut scanner = Scanner::new(tree.root());
        scanner.watch(&[watched()]);
        scanner.full(BEGIN);
        scanner.quick(BEGIN);
        scanner.sockets();
        scanner.changed_sockets();
    }
    let mut scanner = Scanner::new("/nowhere");
    scanner.watch(&[watched()]);
    assert_eq!(scanner.changed_sockets(), []);
    assert_eq!(scanner.full(BEGIN), []);
    assert_eq!(scanner.quick(BEGIN), []);
    tree.end(200);
}

const LISTENER: &str = "   0: 00000000:1F90 00000000:0000 0A 0:0 00:0 0 0 0 1 1\n";
const PEER: &str = "   1: 020011AC:C001 08080808:01BB 01 0:0 00:0 0 0 0 1 1\n";
const PEER_6: &str =
    "   1: 0000000000000000FFFF0000020011AC:C004 0000000000000000FFFF000001010101:01BB 01 0:0\n";

#[test]
fn sockets_are_looked_at_where_their_number_changed_and_nowhere_else() {
    let tree = Tree::new();
    tree.sockets(100, "sockstat", "sockets: used 35\nTCP: inuse 1 orphan 0\n");
    tree.sockets(100, "tcp", LISTENER);
    let mut scanner = scanner(&tree);
    let told = texts(&scanner.changed_sockets());
    assert_eq!(told, ["it listens on 0.0.0.0:8080/tcp"], "never counted");
    // A table takes the kernel milliseconds: as long as the number stays it is not read.
    tree.sockets(100, "tcp", &[LISTENER, PEER].concat());
    assert_eq!(scanner.changed_sockets(), []);
    tree.sockets(100, "sockstat6", "TCP6: inuse 1\nUDP6: inuse 0\n");
    tree.sockets(100, "tcp6", PEER_6);
    let told = texts(&scanner.changed_sockets());
    assert_eq!(told, ["it is connected to 1.1.1.1:443/tcp"], "only IPv6's");
    // Fewer may be two that were closed and one that was opened.
    tree.sockets(100, "sockstat", "sockets: used 35\nTCP: inuse 0 orphan 0\n");
    let told = texts(&scanner.changed_sockets());
    assert_eq!(told, ["it is connected to 8.8.8.8:443/tcp"]);
    assert_eq!(scanner.changed_sockets(), []);
}

#[test]
fn what_changes_all_the_time_does_not_keep_a_quiet_container_waiting() {
    let tree = Tree::new();
    let (busy, quiet) = (id("0a"), id("0f"));
    tree.make(&Made {
        container: Some(busy.clone()),
        namespaces: [21, 22, 23],
        ..of_container(200, 50, "busy")
    });
    let mut scanner = Scanner::new(tree.root());
    let of_busy = Watched {
        id: busy,
        pid: 200,
        ..watched()
    };
    scanner.watch(&[of_busy, watched()]);
    let mut number = 0;
    let mut look = |scanner: &mut Scanner| {
        number += 1;
        tree.sockets(200, "sockstat", &format!("TCP: inuse {number}\n"));
        scanner.changed_sockets()
    };
    // Both are new, and then there is only the busy one.
    for _ in 0..10 {
        assert_eq!(look(&mut scanner), []);
    }
    tree.sockets(100, "sockstat", "TCP: inuse 1\n");
    tree.sockets(100, "tcp", LISTENER);
    let found = look(&mut scanner);
    assert!(found.iter().all(|(id, _)| *id == quiet), "{found:?}");
    assert_eq!(texts(&found), ["it listens on 0.0.0.0:8080/tcp"]);
}

#[test]
fn a_program_that_is_not_of_the_image_is_told_with_its_origin() {
    let tree = Tree::new();
    let mut scanner = scanner(&tree);
    let brought = tempfile::NamedTempFile::new_in("/dev/shm").expect("a file in memory");
    tree.runs(101, brought.path());
    let path = brought.path().display();
    assert_eq!(
        texts(&scanner.full(BEGIN)),
        [format!(
            "process 101 runs `{path}`, which is not of its image"
        )]
    );
}
