//! What systemd does to `phoenixd guard serve`, done without it: it passes the socket (`LISTEN_FDS`, `LISTEN_PID`,
//! `LISTEN_FDNAMES`; `sd_listen_fds(3)`), hears that the guard is ready, alive and ends (`NOTIFY_SOCKET`; `sd_notify(3)`), and says
//! how often it wants to hear so (`WATCHDOG_USEC`, `WATCHDOG_PID`; `sd_watchdog_enabled(3)`).

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use phoenixd::clock::boot_now;
use phoenixd::guard::GuardDir;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often systemd wants to hear of it.
const WATCHDOG: Duration = Duration::from_secs(4);
/// Puts the passed socket where systemd does, and makes the process itself the one that it is meant for. The socket comes as
/// standard input, since nothing else is passed on.
const LAUNCHER: &str = r#"exec 3<&0 </dev/null
export LISTEN_FDS=1 LISTEN_FDNAMES=phoenixd-guard.socket LISTEN_PID="${FOR:-$$}" WATCHDOG_PID="${FOR:-$$}"
exec "$0" "$@""#;

struct Served {
    place: TempDir,
    notified: UnixDatagram,
    child: Child,
}

impl Served {
    /// Starts the guard as systemd does, or with a socket and a watchdog that are meant for another process.
    fn start(meant_for: Option<u32>) -> Self {
        let place = tempfile::tempdir().unwrap();
        GuardDir::of(place.path()).make().unwrap();
        let passed = UnixListener::bind(place.path().join("passed.sock")).unwrap();
        let notify = place.path().join("notify.sock");
        let notified = UnixDatagram::bind(&notify).unwrap();
        notified.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                LAUNCHER,
                env!("CARGO_BIN_EXE_phoenixd"),
                "guard",
                "serve",
            ])
            .args([
                "--socket".as_ref(),
                place.path().join("own.sock").as_os_str(),
            ])
            .args(["--state-dir".as_ref(), place.path().as_os_str()])
            .env("NOTIFY_SOCKET", notify)
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .stdin(Stdio::from(OwnedFd::from(passed)))
            .stderr(Stdio::piped());
        if let Some(pid) = meant_for {
            command.env("FOR", pid.to_string());
        }
        let child = command.spawn().unwrap();
        Self {
            place,
            notified,
            child,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The next thing that systemd hears.
    fn heard(&self) -> String {
        let mut text = [0; 4096];
        let length = self.notified.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length])
            .trim_end()
            .to_owned()
    }

    /// Hears on until this.
    fn hear(&self, wanted: &str) {
        while self.heard() != wanted {}
    }

    fn end(mut self) -> (ExitStatus, String) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.hear("STOPPING=1");
        let status = self.child.wait().unwrap();
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        (status, log)
    }
}

/// A test that fails leaves nothing running.
impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What dockerd asks first.
fn activates(socket: &Path) -> bool {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "POST /Plugin.Activate HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.contains("authz")
}

#[test]
fn the_guard_takes_systemd_s_socket_and_tells_that_it_is_ready_alive_and_ends() {
    let served = Served::start(None);
    served.hear("READY=1");
    assert!(activates(&served.path("passed.sock")));
    assert!(
        !served.path("own.sock").exists(),
        "the passed one is enough"
    );
    served.hear("WATCHDOG=1");
    for _ in 0..2 {
        let before = boot_now();
        served.hear("WATCHDOG=1");
        let took = boot_now().saturating_sub(before);
        assert!(took < WATCHDOG, "systemd would have killed it: {took:?}");
    }
    let passed = served.path("passed.sock");
    let is_there = passed.exists();
    let (status, log) = served.end();
    assert!(is_there && status.success(), "{status} {log}");
    assert!(log.contains("inherited=true"), "{log}");
}

#[test]
fn a_socket_and_a_watchdog_that_are_meant_for_another_process_are_left_alone() {
    let served = Served::start(Some(1));
    served.hear("READY=1");
    assert!(activates(&served.path("own.sock")));
    let (status, log) = served.end();
    assert!(status.success(), "{status} {log}");
    assert!(log.contains("inherited=false"), "{log}");
}
