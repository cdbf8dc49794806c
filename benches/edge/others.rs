//! The processes that are compared.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::load::Shape;
use super::{Failure, local};

/// Who stands between client and replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Proxy {
    Direct,
    EdgeSplice,
    EdgeCopy,
    Haproxy,
    HaproxySplice,
    Docker,
    EdgeHttp,
    Nginx,
}

impl Proxy {
    pub(crate) const ALL: [Self; 8] = [
        Self::Direct,
        Self::EdgeSplice,
        Self::EdgeCopy,
        Self::Haproxy,
        Self::HaproxySplice,
        Self::Docker,
        Self::EdgeHttp,
        Self::Nginx,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::EdgeSplice => "edge tcp (splice)",
            Self::EdgeCopy => "edge tcp (copy)",
            Self::Haproxy => "haproxy tcp",
            Self::HaproxySplice => "haproxy tcp splice",
            Self::Docker => "docker-proxy",
            Self::EdgeHttp => "edge http",
            Self::Nginx => "nginx http",
        }
    }

    pub(crate) fn serves(self, shape: Shape) -> bool {
        let is_http = matches!(self, Self::EdgeHttp | Self::Nginx);
        self == Self::Direct || is_http == shape.is_http()
    }

    /// The edge as it is, not as it is where it has no pipes.
    pub(crate) fn is_edge(self) -> bool {
        matches!(self, Self::EdgeSplice | Self::EdgeHttp)
    }

    /// Whom the edge is compared with.
    pub(crate) fn is_other(self) -> bool {
        !self.is_edge() && !matches!(self, Self::Direct | Self::EdgeCopy)
    }

    /// Starts it; nothing where it is not on this host.
    pub(crate) fn start(self, replica: SocketAddr) -> Result<Option<Running>, Failure> {
        if self == Self::Direct {
            return Ok(Some(Running {
                address: replica,
                child: None,
                _folder: None,
            }));
        }
        let port = free_port()?;
        let folder = tempfile::tempdir()?;
        let mut command = match self {
            Self::Direct | Self::EdgeSplice => own(&port.to_string(), replica, "splice")?,
            Self::EdgeCopy => own(&port.to_string(), replica, "copy")?,
            Self::EdgeHttp => own(&port.to_string(), replica, "http")?,
            Self::Haproxy | Self::HaproxySplice => haproxy(self, port, replica, folder.path())?,
            Self::Docker => docker_proxy(port, replica),
            Self::Nginx => nginx(port, replica, folder.path())?,
        };
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(child) = command.spawn() else {
            return Ok(None);
        };
        let running = Running {
            address: local(port),
            child: Some(child),
            _folder: Some(folder),
        };
        Ok(running.listens().then_some(running))
    }
}

/// The edge with these ports.
pub(crate) fn start_edge(
    ports: [u16; 2],
    replica: SocketAddr,
    mode: &str,
) -> Result<Running, Failure> {
    let [first, second] = ports;
    let child = own(&format!("{first},{second}"), replica, mode)?.spawn()?;
    let running = Running {
        address: local(first),
        child: Some(child),
        _folder: None,
    };
    running
        .listens()
        .then_some(running)
        .ok_or_else(|| "the edge does not listen".into())
}

/// A port that is free now.
pub(crate) fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind(local(0))?.local_addr()?.port())
}

fn haproxy(
    proxy: Proxy,
    port: u16,
    replica: SocketAddr,
    folder: &Path,
) -> Result<Command, Failure> {
    let option = if proxy == Proxy::HaproxySplice {
        "option splice-auto"
    } else {
        ""
    };
    let file = folder.join("haproxy.cfg");
    write(
        &file,
        &format!(
            "global\n nbthread 2\ndefaults\n mode tcp\n timeout client 60s\n timeout server 60s\n timeout connect 5s\n {option}\n\
             listen x\n bind 127.0.0.1:{port}\n server s {replica}\n"
        ),
    )?;
    let mut command = other("haproxy");
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

fn docker_proxy(port: u16, replica: SocketAddr) -> Command {
    // It says to whoever holds the other end of descriptor 3, which dockerd gives it, that it listens.
    let mut command = Command::new("sh");
    command.args([
        "-c",
        r#"exec docker-proxy "$@" 3>/dev/null"#,
        "docker-proxy",
    ]);
    command.args(["-proto", "tcp", "-host-ip", "127.0.0.1"]);
    command.args(["-host-port", &port.to_string()]);
    command.args(["-container-ip", &replica.ip().to_string()]);
    command.args(["-container-port", &replica.port().to_string()]);
    command
}

/// As a reverse proxy is set up that replicas are to know their clients by: it says what the edge says.
fn nginx(port: u16, replica: SocketAddr, folder: &Path) -> Result<Command, Failure> {
    let file = folder.join("nginx.conf");
    let at = folder.display();
    write(
        &file,
        &format!(
            "daemon off; worker_processes 2; pid {at}/pid; error_log {at}/log; events {{ worker_connections 1024; }}\n\
             http {{ access_log off; client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c;\n\
             uwsgi_temp_path {at}/d; scgi_temp_path {at}/e; keepalive_requests 1000000;\n\
             upstream u {{ server {replica}; keepalive 64; keepalive_requests 1000000; }}\n\
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://u; proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\"; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;\n\
             proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;\n\
             proxy_set_header Forwarded 'for=$remote_addr;host=\"$http_host\";proto=$scheme'; proxy_buffers 16 64k; proxy_buffer_size 64k; }} }} }}\n"
        ),
    )?;
    let mut command = other("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(file);
    Ok(command)
}

fn own(ports: &str, replica: SocketAddr, mode: &str) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["edge", ports, &replica.to_string(), mode]);
    Ok(command)
}

/// A program of the system, or of unpacked packages.
fn other(name: &str) -> Command {
    let Some(root) = std::env::var_os("PHOENIXD_BENCH_ROOT") else {
        return Command::new(name);
    };
    let root = PathBuf::from(root);
    let mut command = Command::new(root.join("usr/sbin").join(name));
    command.env("LD_LIBRARY_PATH", root.join("usr/lib/x86_64-linux-gnu"));
    command
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::File::create(path)?.write_all(text.as_bytes())?;
    Ok(())
}

/// A proxy at work, until it is dropped.
pub(crate) struct Running {
    address: SocketAddr,
    child: Option<Child>,
    _folder: Option<tempfile::TempDir>,
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it listens within five seconds.
    fn listens(&self) -> bool {
        for _ in 0..500 {
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// What the process has in memory, in KiB.
    pub(crate) fn resident(&self) -> Result<u64, Failure> {
        let pid = self.child.as_ref().map_or(0, Child::id);
        let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kibibytes.ok_or("no VmRSS")?.parse()?)
    }

    /// The CPU time of the process and its children, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        let Some(child) = &self.child else {
            return 0.0;
        };
        let pid = child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let all = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        all.chain([pid]).map(ticks).sum::<f64>() / 100.0
    }
}

/// Fields 14 and 15 of `/proc/PID/stat`, at 100 in a second.
fn ticks(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default();
    let fields = fields.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum()
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let pid = i32::try_from(child.id())
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                // SIGTERM, so that nginx ends its workers.
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
            }
            child.wait().ok();
        }
    }
}
