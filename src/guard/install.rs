//! What makes dockerd ask the guard: one setting of dockerd's, two units of systemd's, and how they are undone.
//!
//! Only files; nothing is started or reloaded here, and what else stands in dockerd's settings stays.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// The plugin's name: that of its socket, and of the setting's entry.
pub const PLUGIN: &str = "phoenixd";
/// The setting (dockerd 20.10 and 28, `daemon.json`); changed by HUP, without a restart.
const SETTING: &str = "authorization-plugins";

/// Why dockerd's settings cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// They are not JSON of the expected form: better left to their owner.
    #[error("{} is not what dockerd takes: {why}", path.display())]
    NotSettings {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// They cannot be read or written.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SettingsError {
    let path = path.to_owned();
    move |source| SettingsError::Io { what, path, source }
}

/// dockerd's settings.
#[derive(Clone, PartialEq, Debug)]
pub struct DaemonJson {
    path: PathBuf,
    /// As it stands; `None` where there is no such file.
    before: Option<String>,
    settings: Map<String, Value>,
}

/// What is to be written, and what was there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The file.
    pub path: PathBuf,
    /// What it will hold; `None` removes it.
    pub text: Option<String>,
    /// Where what it held is kept.
    pub backup: Option<PathBuf>,
}

impl DaemonJson {
    /// Reads the settings; none is as good as an empty one.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let before = match fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read", path)(error)),
        };
        let odd = |why: String| SettingsError::NotSettings {
            path: path.to_owned(),
            why,
        };
        let settings = match before.as_deref().map(str::trim) {
            None | Some("") => Map::new(),
            Some(text) => serde_json::from_str(text).map_err(|error| odd(error.to_string()))?,
        };
        let own = Self {
            path: path.to_owned(),
            before,
            settings,
        };
        own.plugins().map_err(odd)?;
        Ok(own)
    }

    fn plugins(&self) -> Result<Vec<String>, String> {
        let odd = || format!("`{SETTING}` is no list of names");
        match self.settings.get(SETTING) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(names)) => names
                .iter()
                .map(|name| name.as_str().map(str::to_owned).ok_or_else(odd))
                .collect(),
            Some(_) => Err(odd()),
        }
    }

    /// Whether dockerd is told to ask the guard.
    pub fn names_the_guard(&self) -> bool {
        self.plugins()
            .is_ok_and(|names| names.iter().any(|name| name == PLUGIN))
    }

    /// With the guard as the last plugin; `None` where it is one already.
    pub fn with_guard(&self) -> Option<Change> {
        let mut names = self.plugins().ok()?;
        if self.names_the_guard() {
            return None;
        }
        names.push(PLUGIN.to_owned());
        self.change(&names)
    }

    /// Without the guard; `None` where it is none.
    pub fn without_guard(&self) -> Option<Change> {
        let names = self.plugins().ok()?;
        if !self.names_the_guard() {
            return None;
        }
        let rest: Vec<String> = names.into_iter().filter(|name| name != PLUGIN).collect();
        self.change(&rest)
    }

    fn change(&self, names: &[String]) -> Option<Change> {
        let mut settings = self.settings.clone();
        if names.is_empty() {
            settings.remove(SETTING);
        } else {
            settings.insert(SETTING.to_owned(), json!(names));
        }
        let text = format!("{}\n", serde_json::to_string_pretty(&settings).ok()?);
        Some(Change {
            path: self.path.clone(),
            text: Some(text),
            backup: self
                .before
                .is_some()
                .then(|| self.path.with_extension("json.before-phoenixd")),
        })
    }
}

/// Where the guard is, as its units and its service have to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Installation {
    /// The program.
    pub program: PathBuf,
    /// `STATE`
    pub state_dir: PathBuf,
    /// The socket that dockerd finds by the plugin's name.
    pub socket: PathBuf,
    /// Exceptions of this host (`--allow`).
    pub allow: Vec<String>,
}

/// The two units, by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Units {
    /// `phoenixd-guard.socket`
    pub socket: String,
    /// `phoenixd-guard.service`
    pub service: String,
}

/// The units' names.
pub const UNITS: [&str; 2] = ["phoenixd-guard.socket", "phoenixd-guard.service"];

impl Installation {
    /// The texts of the units: the socket is there before dockerd, and stays while the guard restarts.
    pub fn units(&self) -> Units {
        let (socket, program) = (self.socket.display(), self.program.display());
        let state = self.state_dir.display();
        let allow = self
            .allow
            .iter()
            .fold(String::new(), |all, what| all + " --allow " + what);
        Units {
            socket: format!(
                "[Unit]\n\
                 Description=phoenixd guard: dockerd asks here before it acts\n\
                 Before=docker.service\n\
                 \n\
                 [Socket]\n\
                 ListenStream={socket}\n\
                 SocketMode=0600\n\
                 DirectoryMode=0755\n\
                 \n\
                 [Install]\n\
                 WantedBy=sockets.target\n"
            ),
            service: format!(
                "[Unit]\n\
                 Description=phoenixd guard: shuts the ways into managed containers\n\
                 Requires=phoenixd-guard.socket\n\
                 After=phoenixd-guard.socket\n\
                 Before=docker.service\n\
                 StartLimitIntervalSec=0\n\
                 \n\
                 [Service]\n\
                 Type=notify\n\
                 ExecStart={program} --state-dir {state} guard serve --socket {socket}{allow}\n\
                 Restart=always\n\
                 RestartSec=100ms\n\
                 WatchdogSec=2s\n\
                 OOMScoreAdjust=-900\n\
                 UMask=0077\n\
                 NoNewPrivileges=true\n\
                 CapabilityBoundingSet=CAP_DAC_READ_SEARCH\n\
                 ProtectSystem=strict\n\
                 ReadWritePaths={state}\n\
                 PrivateNetwork=true\n\
                 RestrictAddressFamilies=AF_UNIX\n\
                 MemoryDenyWriteExecute=true\n\
                 SystemCallArchitectures=native\n\
                 \n\
                 [Install]\n\
                 WantedBy=multi-user.target\n"
            ),
        }
    }

    /// The files of the units.
    pub fn unit_changes(&self, directory: &Path) -> Vec<Change> {
        let units = self.units();
        UNITS
            .iter()
            .zip([units.socket, units.service])
            .map(|(name, text)| Change {
                path: directory.join(name),
                text: Some(text),
                backup: None,
            })
            .collect()
    }
}

impl Change {
    /// Removes a file.
    pub fn removal(path: PathBuf) -> Self {
        Self {
            path,
            text: None,
            backup: None,
        }
    }

    /// Does it. The backup of an earlier time is not written over: it has what was there before phoenixd.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn apply(&self) -> Result<(), SettingsError> {
        if let Some(backup) = &self.backup
            && !backup.exists()
        {
            fs::copy(&self.path, backup).map_err(failed("copy to", backup))?;
        }
        let Some(text) = &self.text else {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(failed("remove", &self.path)(error))
                }
                Ok(()) | Err(_) => Ok(()),
            };
        };
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent).map_err(failed("make", parent))?;
        }
        let mut fresh = self.path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        fs::write(&fresh, text).map_err(failed("write", &fresh))?;
        if let Ok(about) = fs::metadata(&self.path) {
            fs::set_permissions(&fresh, about.permissions()).map_err(failed("write", &fresh))?;
        }
        fs::rename(&fresh, &self.path).map_err(failed("write", &self.path))
    }
}
