//! The engine as an outsider sees it: its API, spoken plainly, with nothing of phoenixd in between.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{self, Answer};
use super::{variable, wait};

/// For one answer; stopping a container and loading an image take a while.
const PATIENCE: Duration = Duration::from_mins(1);
/// The label of what a journey makes by itself: its strangers.
pub(crate) const STRANGER: &str = "phoenixd-journey.of";

/// Where the engine listens.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    Unix(PathBuf),
    Tcp(String),
}

/// The engine of the environment.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    place: Place,
    /// 20, 28 …
    pub(crate) major: u32,
}

/// One container as the engine lists it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) id: String,
    /// `running`, `exited`, `created` …
    pub(crate) state: String,
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Engine {
    /// The engine of `DOCKER_HOST`, else of the default socket.
    pub(crate) fn of_environment() -> Self {
        let host = variable("DOCKER_HOST").unwrap_or_default();
        let place = if host.is_empty() {
            Place::Unix("/var/run/docker.sock".into())
        } else if let Some(path) = host.strip_prefix("unix://") {
            Place::Unix(path.into())
        } else if let Some(address) = host.strip_prefix("tcp://") {
            Place::Tcp(address.trim_end_matches('/').to_owned())
        } else {
            panic!("these tests need DOCKER_HOST=unix://… or tcp://…, not {host}")
        };
        let mut engine = Self { place, major: 0 };
        let version = match engine.call("GET", "/version", None) {
            Ok(answer) => answer.json(),
            Err(error) => panic!(
                "these tests need a Docker Engine at {:?}: {error}",
                engine.place
            ),
        };
        engine.major = version["Version"]
            .as_str()
            .and_then(|version| version.split('.').next())
            .and_then(|major| major.parse().ok())
            .unwrap_or_else(|| panic!("an engine without a version: {version}"));
        engine
    }

    /// Its socket, where it is reached by one.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match &self.place {
            Place::Unix(path) => Some(path),
            Place::Tcp(_) => None,
        }
    }

    /// One call; a status of 400 and above is an answer, too.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> io::Result<Answer> {
        let body = body.map(Value::to_string);
        self.send(
            method,
            path,
            "application/json",
            body.as_deref().unwrap_or_default().as_bytes(),
        )
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Answer> {
        let mut stream = self.dial(Some(PATIENCE))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        match stream.write_all(body) {
            // An engine that refuses may answer, and close, before it has read what was sent along.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
        http::answer(&mut BufReader::new(stream))
    }

    fn dial(&self, patience: Option<Duration>) -> io::Result<Stream> {
        Ok(match &self.place {
            Place::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(patience)?;
                Stream::Unix(stream)
            }
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(patience)?;
                Stream::Tcp(stream)
            }
        })
    }

    /// A call that has to succeed.
    #[track_caller]
    pub(crate) fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let answer = self
            .call(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert!(
            answer.status < 400,
            "{method} {path}: {} {}",
            answer.status,
            answer.text()
        );
        answer
    }

    /// Copies files into a container, as `docker cp` does: the status, and what was said.
    pub(crate) fn copy_in(&self, container: &str, path: &str, archive: &[u8]) -> (u16, String) {
        let uri = format!("/containers/{container}/archive?path={}", escape(path));
        let answer = self
            .send("PUT", &uri, "application/x-tar", archive)
            .expect("copy in");
        (answer.status, answer.text())
    }

    /// Imports an image whose root holds one file.
    pub(crate) fn import(&self, name: &str, changes: &[&str], root: &[u8]) {
        let changes = changes.iter().fold(String::new(), |all, change| {
            all + "&changes=" + &escape(change)
        });
        let path = format!("/images/create?fromSrc=-&repo={}{changes}", escape(name));
        let answer = self
            .send("POST", &path, "application/x-tar", root)
            .expect("import the image");
        // A fault may also come in the body of a 200.
        assert!(
            answer.status < 400 && !answer.text().contains("errorDetail"),
            "import: {} {}",
            answer.status,
            answer.text()
        );
    }

    /// The containers that carry a label, by name.
    pub(crate) fn containers(&self, label: &str) -> Vec<Made> {
        let path = format!("/containers/json?all=1&filters={}", filter("label", label));
        let mut found: Vec<Made> = self
            .must("GET", &path, None)
            .json()
            .as_array()
            .expect("a list")
            .iter()
            .map(|container| Made {
                name: text(&container["Names"][0])
                    .trim_start_matches('/')
                    .to_owned(),
                id: text(&container["Id"]),
                state: text(&container["State"]),
            })
            .collect();
        found.sort();
        found
    }

    /// The names of the networks that carry a label.
    pub(crate) fn networks(&self, label: &str) -> Vec<String> {
        let path = format!("/networks?filters={}", filter("label", label));
        names(&self.must("GET", &path, None).json(), "Name")
    }

    /// The names of the volumes that carry a label.
    pub(crate) fn volumes(&self, label: &str) -> Vec<String> {
        let path = format!("/volumes?filters={}", filter("label", label));
        names(&self.must("GET", &path, None).json()["Volumes"], "Name")
    }

    /// What `docker inspect` shows; `None` when there is no such container.
    pub(crate) fn inspect(&self, container: &str) -> Option<Value> {
        let path = format!("/containers/{container}/json");
        let answer = self.call("GET", &path, None).expect("inspect");
        (answer.status != 404).then(|| answer.json())
    }

    /// Follows the events that carry a label, from now on.
    pub(crate) fn events(&self, label: &str) -> EventLog {
        EventLog::follow(self, label)
    }

    /// A container that is none of phoenixd's business.
    pub(crate) fn stranger(
        &self,
        project: &str,
        name: &str,
        image: &str,
        labels: &Value,
    ) -> String {
        let body =
            json!({ "Image": image, "Labels": labels, "HostConfig": { "NetworkMode": "none" } });
        self.run_stranger(project, name, body)
    }

    /// The same, with a port of the host.
    pub(crate) fn publishing(&self, project: &str, name: &str, image: &str, port: u16) -> String {
        let on = json!([{ "HostIp": "127.0.0.1", "HostPort": port.to_string() }]);
        let body = json!({
            "Image": image,
            "Labels": {},
            "ExposedPorts": { "8080/tcp": {} },
            "HostConfig": { "PortBindings": { "8080/tcp": on } },
        });
        self.run_stranger(project, name, body)
    }

    fn run_stranger(&self, project: &str, name: &str, mut body: Value) -> String {
        body["Labels"][STRANGER] = json!(project);
        let made = self.must(
            "POST",
            &format!("/containers/create?name={name}"),
            Some(&body),
        );
        let id = text(&made.json()["Id"]);
        self.must("POST", &format!("/containers/{id}/start"), None);
        id
    }

    /// Removes everything that carries a label; what could not be removed is told.
    pub(crate) fn remove_all(&self, label: &str) -> Vec<String> {
        let mut left = Vec::new();
        for container in self.containers(label) {
            if let Err(why) = self.remove(&container.id) {
                left.push(format!("{}: {why}", container.name));
            }
        }
        // Made by a call of a supervisor that was just killed.
        left.extend(
            self.containers(label)
                .into_iter()
                .map(|container| container.name),
        );
        for network in self.networks(label) {
            self.free(&network);
            let answer = self.call("DELETE", &format!("/networks/{network}"), None);
            if let Ok(answer) = answer
                && answer.status >= 400
                && answer.status != 404
            {
                left.push(format!("network {network}: {}", answer.text()));
            }
        }
        for volume in self.volumes(label) {
            drop(self.call("DELETE", &format!("/volumes/{volume}?force=1"), None));
        }
        left.extend(self.volumes(label));
        left
    }

    /// The names of the image of a project's pods.
    pub(crate) fn pod_images(&self, project: &str) -> Vec<String> {
        let path = format!(
            "/images/json?filters={}",
            filter("label", "phoenixd.image=pod")
        );
        let Ok(answer) = self.call("GET", &path, None) else {
            return Vec::new();
        };
        let images = answer.json();
        let tags = images.as_array().into_iter().flatten();
        let tags = tags.flat_map(|image| image["RepoTags"].as_array().into_iter().flatten());
        let tags = tags.filter_map(Value::as_str).map(str::to_owned);
        let whose = format!("-{project}");
        tags.filter(|tag| tag.ends_with(&whose)).collect()
    }

    /// Takes a project's name from the image of its pods, which it leaves where there was no `down`.
    pub(crate) fn remove_pod_images(&self, project: &str) {
        for tag in self.pod_images(project) {
            drop(self.call("DELETE", &format!("/images/{tag}"), None));
        }
    }

    /// Removes a container by force. Whoever removes it at the same time is welcome: the engine refuses a second removal
    /// for as long as the first is under way, which for a process that was frozen takes seconds.
    fn remove(&self, id: &str) -> Result<(), String> {
        let path = format!("/containers/{id}?force=1&v=1");
        let began = wait::now();
        loop {
            let why = match self.call("DELETE", &path, None) {
                Ok(answer) if answer.status < 300 || answer.status == 404 => return Ok(()),
                Ok(answer) => answer.text(),
                Err(error) => error.to_string(),
            };
            if wait::since(began) > PATIENCE {
                return Err(why);
            }
            wait::pause(wait::LOOK);
        }
    }

    /// An engine may forget an endpoint on a network (`ENGINE-FACTS.md`, section 11).
    fn free(&self, network: &str) {
        let Ok(answer) = self.call("GET", &format!("/networks/{network}"), None) else {
            return;
        };
        for endpoint in answer.json()["Containers"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let body = json!({ "Container": endpoint.1["Name"], "Force": true });
            drop(self.call(
                "POST",
                &format!("/networks/{network}/disconnect"),
                Some(&body),
            ));
        }
    }
}

/// What the engine told of a label since it was followed.
pub(crate) struct EventLog {
    seen: Arc<Mutex<Vec<Value>>>,
    stream: Stream,
    reader: Option<JoinHandle<()>>,
}

impl EventLog {
    fn follow(engine: &Engine, label: &str) -> Self {
        let mut stream = engine.dial(None).expect("follow the events");
        let path = format!("/events?filters={}", filter("label", label));
        write!(stream, "GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n").expect("follow the events");
        let mut reading = BufReader::new(stream.another());
        // The head is sent when the subscription stands.
        let head = http::head(&mut reading).expect("follow the events");
        assert_eq!(head.status, 200, "events");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut pending = Vec::new();
            // Ends when the stream is shut down, or the engine ends.
            while let Ok(true) = http::chunk(&mut reading, &mut pending) {
                while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = pending.drain(..=end).collect();
                    if let Ok(event) = serde_json::from_slice(&line) {
                        sink.lock().expect("events").push(event);
                    }
                }
            }
        });
        Self {
            seen,
            stream,
            reader: Some(reader),
        }
    }

    /// Everything so far, but for pods. Waits for what is on its way: an event is told within milliseconds.
    pub(crate) fn seen(&self) -> Vec<Value> {
        let count = || self.seen.lock().expect("events").len();
        let mut last = count();
        loop {
            wait::pause(Duration::from_millis(200));
            let next = count();
            if next == last {
                let mut all = self.seen.lock().expect("events").clone();
                all.retain(|event| !is_of_pod(&text(&event["Actor"]["Attributes"]["name"])));
                return all;
            }
            last = next;
        }
    }

    /// The actions of containers so far, with the container's name.
    pub(crate) fn actions(&self) -> Vec<(String, String)> {
        self.seen()
            .iter()
            .filter(|event| event["Type"] == "container")
            .map(|event| {
                (
                    text(&event["Action"]),
                    text(&event["Actor"]["Attributes"]["name"]),
                )
            })
            .collect()
    }

    /// The most containers that ran at once, beginning with so many.
    pub(crate) fn most_running(&self, before: usize) -> usize {
        let (mut running, mut most) = (before, before);
        for (action, _) in self.actions() {
            match action.as_str() {
                "start" => running += 1,
                "die" => running = running.saturating_sub(1),
                _ => {}
            }
            most = most.max(running);
        }
        most
    }
}

/// Whether a container is a part of a pod, by its name: no replica's has a full stop before its serial.
pub(crate) fn is_of_pod(name: &str) -> bool {
    name.contains("-edge.") || name.contains("-pause.")
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.stream.shut();
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

impl Stream {
    fn another(&self) -> Self {
        match self {
            Self::Unix(stream) => Self::Unix(stream.try_clone().expect("clone")),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().expect("clone")),
        }
    }

    fn shut(&self) {
        // Fails only where the other side was quicker.
        drop(match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        });
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A JSON string's text; nothing where there is none.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn names(list: &Value, key: &str) -> Vec<String> {
    let mut names: Vec<String> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| text(&item[key]))
        .collect();
    names.sort();
    names
}

fn filter(key: &str, value: &str) -> String {
    escape(&json!({ key: [value] }).to_string())
}

/// For a query of a URL.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
