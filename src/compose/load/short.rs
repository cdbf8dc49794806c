//! The short syntaxes of `ports` and `volumes`.
//!
//! As compose-go 2.9.1 reads them (`types.ParsePortConfig` on go-connections' `nat.ParsePortSpecs`, `format/volume.go`).
//! Not here: what a phoenix makes of them (`service`).

use std::net::IpAddr;

/// Why a text is none of them: what is wrong, and what to do.
pub(in crate::compose) type Problem = (String, &'static str);

const PORTS: &str =
    "write `HOST:CONTAINER`, such as `8080:80` or `127.0.0.1:8080:80`; an IPv6 address in brackets";
const VOLUMES: &str =
    "write `SOURCE:TARGET` or `SOURCE:TARGET:ro`; a path begins with `.`, `/` or `~`";
/// Most ports of one text: each becomes a mapping of its own. compose-go has no limit; a
/// telephone exchange has some ten thousand.
const PORTS_MAX: usize = 20_000;

/// The first and the last of a row of ports; both are the same for one port.
pub(in crate::compose) type Range = (u16, u16);

/// One port of the container, and where it is published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Port {
    /// The address of the host.
    pub(super) host_ip: Option<String>,
    /// `8080`, or `8080-8090` where the engine may choose one.
    pub(super) published: Option<String>,
    /// In the container.
    pub(super) target: u16,
    /// `tcp`, `udp` or `sctp`.
    pub(super) protocol: String,
}

/// `[[IP:][HOST]:]CONTAINER[/PROTOCOL]`, port by port.
pub(super) fn ports(text: &str) -> Result<Vec<Port>, Problem> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err((
            format!("`{protocol}` is not a protocol"),
            "write `80/tcp` or `80/udp`",
        ));
    }
    let (host_ip, host, target) = parts(text, rest)?;
    let target = port_range(target)?;
    if length(target) > PORTS_MAX {
        return Err((
            format!("`{text}` is a row of more than {PORTS_MAX} ports"),
            "publish fewer ports",
        ));
    }
    let host = host.map(port_range).transpose()?;
    if let Some(host) = host
        && length(host) != length(target)
        // The engine chooses one of the row.
        && target.0 != target.1
    {
        return Err((
            format!(
                "`{}` and `{}` are not equally many ports",
                show(host),
                show(target)
            ),
            "write rows of the same length, such as `3000-3005:4000-4005`",
        ));
    }
    let mut found = Vec::new();
    for (index, port) in (target.0..=target.1).enumerate() {
        let published = host.map(|host| {
            if target.0 == target.1 {
                show(host)
            } else {
                (usize::from(host.0) + index).to_string()
            }
        });
        found.push(Port {
            host_ip: host_ip.map(str::to_owned),
            published,
            target: port,
            protocol: protocol.clone(),
        });
    }
    // As the reference sorts them: by the text of the port.
    found.sort_by_key(|port| format!("{}/{}", port.target, port.protocol));
    Ok(found)
}

/// Address, port of the host, port of the container.
type Parts<'t> = (Option<&'t str>, Option<&'t str>, &'t str);

fn parts<'t>(text: &str, rest: &'t str) -> Result<Parts<'t>, Problem> {
    let malformed = || (format!("`{text}` is not a port"), PORTS);
    let (host_ip, rest) = if let Some(bracketed) = rest.strip_prefix('[') {
        let (ip, rest) = bracketed.split_once("]:").ok_or_else(malformed)?;
        (Some(ip), rest)
    } else {
        match rest.matches(':').count() {
            0 | 1 => (None, rest),
            // Both colons belong to the ports: an IPv6 address has brackets.
            _ => {
                let (head, target) = rest.rsplit_once(':').ok_or_else(malformed)?;
                let (ip, _) = head.rsplit_once(':').ok_or_else(malformed)?;
                if ip.contains(':') {
                    return Err(malformed());
                }
                let from = ip.len() + 1;
                let tail = rest.get(from..).ok_or_else(malformed)?;
                if target.is_empty() {
                    return Err(malformed());
                }
                (Some(ip), tail)
            }
        }
    };
    let host_ip = host_ip.filter(|ip| !ip.is_empty());
    if let Some(ip) = host_ip.filter(|ip| ip.parse::<IpAddr>().is_err()) {
        return Err((format!("`{ip}` is not an IP address"), PORTS));
    }
    match rest.split_once(':') {
        Some(("", target)) => Ok((host_ip, None, target)),
        Some((host, target)) => Ok((host_ip, Some(host), target)),
        None => Ok((host_ip, None, rest)),
    }
}

/// `80` or `3000-3005`
pub(in crate::compose) fn port_range(text: &str) -> Result<Range, Problem> {
    let port = |text: &str| -> Result<u16, Problem> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number {
            return Err((format!("`{text}` is not a port"), PORTS));
        }
        text.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            (
                format!("port {text} does not exist"),
                "ports go from 1 to 65535",
            )
        })
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    if first > last {
        return Err((
            format!("`{text}` ends before it begins"),
            "write the smaller port first",
        ));
    }
    Ok((first, last))
}

/// How many ports a row has.
pub(in crate::compose) fn length((first, last): Range) -> usize {
    usize::from(last - first) + 1
}

/// A row of ports as it is written.
pub(in crate::compose) fn show((first, last): Range) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

/// A volume of the short syntax.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Volume {
    /// A path, or the key of a volume.
    pub(super) source: Option<String>,
    /// Where it is mounted.
    pub(super) target: String,
    /// `ro`
    pub(super) read_only: bool,
    /// `nocopy`
    pub(super) nocopy: bool,
    /// `z` or `Z`
    pub(super) selinux: Option<String>,
    /// `rshared` and its like.
    pub(super) propagation: Option<String>,
    /// A target of one or two letters, for which the reference writes no options.
    pub(super) is_bare: bool,
    /// What means nothing, which the reference passes over in silence.
    pub(super) unknown: Vec<String>,
}

impl Volume {
    /// Whether the source is a path of the host.
    pub(super) fn is_bind(&self) -> bool {
        let source = self.source.as_deref().unwrap_or_default();
        source.starts_with(['.', '/', '~']) || source.starts_with("\\\\") || is_drive(source)
    }
}

/// `c:`, a drive of Windows.
fn is_drive(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(char::is_alphabetic) && letters.next() == Some(':')
}

/// `[SOURCE:]TARGET[:MODE,MODE]`
pub(super) fn volume(text: &str) -> Result<Volume, Problem> {
    let mut volume = Volume::default();
    if text.is_empty() {
        return Err(("this volume is empty".to_owned(), VOLUMES));
    }
    if text.len() <= 2 {
        text.clone_into(&mut volume.target);
        volume.is_bare = true;
        return Ok(volume);
    }
    let sections = sections(text);
    if sections.iter().any(String::is_empty) {
        return Err((format!("`{text}` has an empty part"), VOLUMES));
    }
    let modes = match sections.as_slice() {
        [target] => {
            target.clone_into(&mut volume.target);
            ""
        }
        [source, target] => {
            volume.source = Some(source.clone());
            target.clone_into(&mut volume.target);
            ""
        }
        [source, target, modes] => {
            volume.source = Some(source.clone());
            target.clone_into(&mut volume.target);
            modes.as_str()
        }
        _ => return Err((format!("`{text}` has too many colons"), VOLUMES)),
    };
    for mode in modes.split(',') {
        match mode {
            "ro" => volume.read_only = true,
            "rw" => volume.read_only = false,
            "nocopy" => volume.nocopy = true,
            "z" | "Z" => volume.selinux = Some(mode.to_owned()),
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                volume.propagation = Some(mode.to_owned());
            }
            // These tell Docker Desktop how to keep two copies of a file together, and Linux has one.
            "" | "cached" | "delegated" | "consistent" => {}
            _ => volume.unknown.push(mode.to_owned()),
        }
    }
    Ok(volume)
}

/// What stands between the colons; that of a Windows drive is none.
fn sections(text: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    for letter in text.chars() {
        let Some(section) = sections.last_mut() else {
            break;
        };
        let is_drive = letter == ':'
            && section.chars().count() == 1
            && section.chars().all(char::is_alphabetic);
        if letter == ':' && !is_drive {
            sections.push(String::new());
        } else {
            section.push(letter);
        }
    }
    sections
}
