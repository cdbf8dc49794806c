//! Heads elsewhere: what is sent, where it may go, and that a sink that is away holds nothing up.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use phoenixd::journal::export::{Export, Exporter, Words, start};
use phoenixd::journal::{FILE_NAME, Heads, Journal, Kind, files_of, verify_all};
use sha2::Sha256;

use super::{DEADLINE, durable, kinds, lines, record, wait};

fn export(words: &Words<'_>) -> Export {
    Export::read(words).unwrap().unwrap()
}

/// A journal with an exporter.
fn exporting(directory: &Path, words: &Words<'_>) -> (Journal, Exporter) {
    let (journal, _) = Journal::open(directory).unwrap();
    let exporter = start(journal.clone(), "shop", export(words)).unwrap();
    (journal, exporter)
}

fn end(journal: &Journal, exporter: Exporter) -> u64 {
    let head = wait(journal.close()).unwrap();
    wait(exporter.ended());
    head.seq
}

#[test]
fn a_file_gets_heads_that_a_later_rewriting_does_not_have() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let heads = elsewhere.path().join("heads.jsonl");
    // A crash left half a line before.
    fs::write(&heads, "{\"seq\":1,\"he").unwrap();
    let sinks = format!("file:{}", heads.display());
    let words = Words {
        sinks: Some(&sinks),
        every: Some("10"),
        ..Words::default()
    };
    let (journal, exporter) = exporting(directory.path(), &words);
    for n in 1..=45 {
        durable(journal.append(record(n))).unwrap();
    }
    let last = end(&journal, exporter);
    let text = fs::read_to_string(&heads).unwrap();
    let told: Vec<serde_json::Value> = text
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(told.len() >= 2, "{text}");
    assert_eq!(told.last().unwrap()["seq"], last);
    assert!(told.iter().all(|line| line["project"] == "shop"));

    let expected = || {
        let mut expected = Heads::default();
        expected.add_file(&heads).unwrap();
        expected
    };
    let files = files_of(directory.path()).unwrap();
    let checked = verify_all(&files, expected()).unwrap();
    assert_eq!(checked.heads_found, told.len());
    // The last record is taken off: the chain holds, and the heads do not.
    let path = directory.path().join(FILE_NAME);
    let whole = fs::read_to_string(&path).unwrap();
    let kept: Vec<&str> = whole.split_inclusive('\n').collect();
    fs::write(&path, kept[..kept.len() - 1].concat()).unwrap();
    assert!(verify_all(&files, Heads::default()).is_ok());
    assert!(verify_all(&files, expected()).is_err());
}

#[test]
fn syslog_gets_a_line_as_syslog_daemons_take_it() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("log");
    let daemon = UnixDatagram::bind(&socket).unwrap();
    daemon.set_read_timeout(Some(DEADLINE)).unwrap();
    let sinks = format!("syslog:{}", socket.display());
    let words = Words {
        sinks: Some(&sinks),
        ..Words::default()
    };
    let (journal, exporter) = exporting(&directory.path().join("j"), &words);
    durable(journal.append(record(1))).unwrap();
    let mut buffer = [0; 1024];
    let length = daemon.recv(&mut buffer).unwrap();
    let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
    let head = journal.status().borrow().head.clone();
    assert!(text.starts_with("<85>"), "{text}");
    let tail = format!("]: journal head project=shop seq=1 head={}", head.hash);
    assert!(
        text.ends_with(&tail) && text.contains(" phoenixd["),
        "{text}"
    );
    end(&journal, exporter);
}

/// Takes one request and gives that answer; the head of the request, and its body.
fn answer(listener: &TcpListener, answer: &str) -> (String, Vec<u8>) {
    let (mut stream, _) = listener.accept().unwrap();
    let request = read_request(&mut stream);
    stream.write_all(answer.as_bytes()).unwrap();
    request
}

fn read_request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).unwrap();
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap()
            .parse()
            .unwrap();
        if body.len() >= length {
            let body = bytes[bytes.len() - length..].to_vec();
            return (head.to_owned(), body);
        }
    }
}

const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";

#[test]
fn a_webhook_gets_a_signed_head_and_no_redirect_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, "0123456789abcdef0123\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let sinks = format!("webhook:http://{address}/heads?token=t0ken");
    let words = Words {
        sinks: Some(&sinks),
        period: Some("1s"),
        secret_file: secret.to_str(),
        ..Words::default()
    };
    let state = directory.path().join("j");
    let (journal, exporter) = exporting(&state, &words);
    durable(journal.append(record(1))).unwrap();
    let moved = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
        other.local_addr().unwrap()
    );
    let (head, body) = answer(&listener, &moved);
    assert!(
        head.starts_with("post /heads?token=t0ken http/1.1"),
        "{head}"
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(b"0123456789abcdef0123").unwrap();
    mac.update(&body);
    let signature = hex::encode(mac.finalize().into_bytes());
    assert!(
        head.contains(&format!("x-phoenixd-hmac-sha256: {signature}")),
        "{head}"
    );
    let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&told["seq"], &told["project"]),
        (&1.into(), &"shop".into())
    );

    // The failure is recorded once, and what is sent next is the newest head.
    let (_, body) = answer(&listener, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(told["seq"], 2);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        loop {
            let (_, body) = answer(&listener, OK);
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            if tell.send(body["seq"].as_u64().unwrap()).is_err() {
                return;
            }
        }
    });
    let mut status = journal.status();
    wait(async {
        while status.borrow_and_update().head.seq < 3 {
            status.changed().await.unwrap();
        }
    });
    let last = end(&journal, exporter);
    while told.recv_timeout(DEADLINE).unwrap() != last {}
    let path = state.join(FILE_NAME);
    assert_eq!(kinds(&path), [Kind::Began, Kind::Note, Kind::Note]);
    let note = fs::read_to_string(&path).unwrap();
    assert!(
        note.contains("redirects are not followed") && !note.contains("t0ken"),
        "{note}"
    );
    assert!(other.accept().is_err(), "nobody asked there");
    assert_eq!(lines(&path).len() as u64, last);
}

#[test]
fn a_sink_that_hangs_holds_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sinks = format!("webhook:http://{}/", listener.local_addr().unwrap());
    let words = Words {
        sinks: Some(&sinks),
        every: Some("1"),
        ..Words::default()
    };
    let (journal, exporter) = exporting(directory.path(), &words);
    durable(journal.append(record(1))).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    read_request(&mut stream);
    // It never answers; thousands of records are durable meanwhile, and the journal closes.
    for n in 2..=300 {
        durable(journal.append(record(n))).unwrap();
    }
    assert_eq!(wait(journal.close()).unwrap().seq, 300);
    drop((stream, listener));
    wait(exporter.ended());
}

#[test]
fn places_that_are_none_and_urls_that_lead_inside_are_refused() {
    let read = |sinks: &str| {
        let words = Words {
            sinks: Some(sinks),
            ..Words::default()
        };
        Export::read(&words).map(|export| export.is_some())
    };
    assert!(matches!(read(""), Ok(false)));
    assert!(matches!(read("syslog:,file:/var/heads"), Ok(true)));
    for bad in [
        "file:relative",
        "mail:me",
        "syslog",
        "webhook:http://example.com/",
        "webhook:http://10.0.0.1/",
        "webhook:ftp://example.com/",
        "webhook:https://user:word@example.com/",
        "webhook:/path",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
    let period = Words {
        sinks: Some("syslog:"),
        period: Some("10ms"),
        ..Words::default()
    };
    assert!(Export::read(&period).is_err());
    let short = tempfile::NamedTempFile::new().unwrap();
    fs::write(short.path(), "short").unwrap();
    let secret = Words {
        sinks: Some("webhook:http://127.0.0.1/"),
        secret_file: short.path().to_str(),
        ..Words::default()
    };
    assert!(Export::read(&secret).is_err());
}

#[test]
fn a_webhook_at_an_address_inside_is_not_asked_where_its_network_is_not_listed() {
    // TLS is never begun: the address is refused before.
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let sinks =
        format!("webhook:https://169.254.169.254:{port}/,webhook:https://10.255.255.1:{port}/");
    let words = Words {
        sinks: Some(&sinks),
        ..Words::default()
    };
    let Ok(Some(export)) = Export::read(&words) else {
        // A host without any certificates has no webhooks by TLS at all.
        return;
    };
    let (journal, _) = Journal::open(directory.path()).unwrap();
    let exporter = start(journal.clone(), "shop", export).unwrap();
    durable(journal.append(record(1))).unwrap();
    let path = directory.path().join(FILE_NAME);
    let mut status = journal.status();
    wait(async {
        while status.borrow_and_update().head.seq < 3 {
            status.changed().await.unwrap();
        }
    });
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("which is not public"), "{text}");
    assert!(listener.accept().is_err(), "nobody asked there");
    wait(journal.close()).unwrap();
    wait(async { drop(tokio::time::timeout(Duration::from_secs(30), exporter.ended()).await) });
}
