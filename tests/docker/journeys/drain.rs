//! Requests and streams that are under way while their replica is recycled.

use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::support::{Journey, http, now, short, since};

const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn a_slow_request_is_answered_in_full_and_a_stream_ended_properly_while_their_replica_is_recycled()
{
    let journey = Journey::of_web(1, "stop_grace_period: 10s", "drain: 500ms");
    let _supervisor = journey.up_ready(1);
    let old = journey.running_ids().remove(0);
    let address = ([127, 0, 0, 1], journey.port).into();

    let mut stream = BufReader::new(http::dial(address, PATIENCE).expect("dial"));
    http::ask(&mut stream, "GET", "/stream", false).expect("ask");
    let head = http::head(&mut stream).expect("a head");
    assert_eq!(head.status, 200);
    let mut streamed = Vec::new();
    assert!(http::chunk(&mut stream, &mut streamed).expect("a line"));

    let began = now();
    let slow = begin(address, "/slow?ms=3000");
    let large = begin(address, "/bytes?n=50000000");
    are_taken(&journey);
    journey.run(&["recycle"]).success();
    assert!(
        journey.engine.inspect(&old).is_none(),
        "the old one is gone"
    );

    let answer = slow.join().expect("join");
    let answer = answer.expect("the slow request is answered");
    let took = since(began);
    assert_eq!(answer.status, 200);
    assert!(took >= Duration::from_secs(3), "{took:?}");
    assert!(
        answer.text().contains(short(&old)),
        "by the old one: {}",
        answer.text()
    );
    let large = large
        .join()
        .expect("join")
        .expect("the large answer is whole");
    assert_eq!(large.body.len(), 50_000_000);

    while http::chunk(&mut stream, &mut streamed).expect("a stream with a proper end") {}
    let text = String::from_utf8_lossy(&streamed);
    assert!(text.ends_with("ends this stream properly\n"), "{text}");
    assert!(text.contains(short(&old)), "{text}");
}

/// A request that has been sent; its answer is read by a thread of its own.
fn begin(address: SocketAddr, path: &str) -> JoinHandle<io::Result<http::Answer>> {
    let mut stream = BufReader::new(http::dial(address, PATIENCE).expect("dial"));
    http::ask(&mut stream, "GET", path, true).expect("ask");
    thread::spawn(move || http::answer(&mut stream))
}

/// The edge has taken every connection that was made before: it takes them in their order.
fn are_taken(journey: &Journey) {
    journey.get("/whoami");
}

#[test]
fn only_the_end_of_the_grace_cuts_a_request() {
    const GRACE: Duration = Duration::from_secs(3);
    let journey = Journey::of_web(1, "stop_grace_period: 3s", "drain: 500ms");
    let _supervisor = journey.up_ready(1);
    let events = journey.engine.events(&journey.label());
    let address = ([127, 0, 0, 1], journey.port).into();
    let endless = begin(address, "/slow?ms=60000");
    are_taken(&journey);
    journey.run(&["recycle"]).success();
    let answer = endless.join().expect("join");
    assert!(
        answer.is_err(),
        "cut, and not answered by somebody else: {answer:?}"
    );

    let seen = events.seen();
    let at = |action: &str, signal: Option<&str>| {
        let found = seen.iter().find(|event| {
            event["Action"] == action
                && signal.is_none_or(|signal| event["Actor"]["Attributes"]["signal"] == signal)
        });
        let event = found.unwrap_or_else(|| panic!("no {action} {signal:?} in {seen:#?}"));
        Duration::from_nanos(event["timeNano"].as_u64().expect("a time"))
    };
    let term = at("kill", Some("15"));
    let (killed, died) = (at("kill", Some("9")), at("die", None));
    let after = killed.saturating_sub(term);
    println!("SIGKILL came {after:?} after SIGTERM");
    // The engine counts from a moment before it tells of the signal.
    assert!(after >= GRACE.mul_f32(0.9), "{after:?}");
    assert!(died >= killed);
    assert!(at("start", None) < term, "the new one first");

    let told = journey.run(&["events"]).success();
    let counted = told
        .stdout
        .lines()
        .any(|line| line.contains("\"connections_cut\":1"));
    assert!(counted, "the journal counts what was cut: {}", told.stdout);
}

#[test]
fn what_is_under_way_is_answered_when_the_supervisor_ends_and_when_everything_is_removed() {
    let journey = Journey::of_web(1, "stop_grace_period: 10s", "drain: 500ms");
    let address = ([127, 0, 0, 1], journey.port).into();
    let slow = || begin(address, "/slow?ms=2500");

    let supervisor = journey.up_ready(1);
    let under_way = slow();
    are_taken(&journey);
    supervisor.end();
    let answer = under_way
        .join()
        .expect("join")
        .expect("SIGTERM cuts nothing");
    assert_eq!(answer.status, 200);

    let _supervisor = journey.up_ready(1);
    let under_way = slow();
    are_taken(&journey);
    journey.run(&["down"]).success();
    let answer = under_way.join().expect("join").expect("down cuts nothing");
    assert_eq!(answer.status, 200);
    assert_eq!(journey.containers(), []);
}
