//! What the scan of `/proc` finds, and what it must not take for a finding, on a `/proc` made of files.
#![expect(clippy::expect_used, reason = "tests fail by panicking")]

mod evidence;
mod tree;

use std::fs;
use std::time::Duration;

use phoenixd::reconcile::Touch;
use phoenixd::witness::{Found, Scanner};

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
    }
    let mut scanner = Scanner::new("/nowhere");
    scanner.watch(&[watched()]);
    assert_eq!(scanner.full(BEGIN), []);
    assert_eq!(scanner.quick(BEGIN), []);
    tree.end(200);
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
