//! What runs: image, command, user, names, labels, stop, health check, and the keys about when Docker would start it.

use super::binder::Binder;
use crate::compose::bind::At;
use crate::compose::image::image_problem;
use crate::compose::problems::Problems;
use crate::compose::shell::{self, SplitError};
use crate::spec::{HealthTest, Healthcheck, ImageRef, Logging, PullPolicy};

/// Labels by which docker compose knows containers. phoenixd sets them itself (`docker::compose_labels`): others would make
/// compose stop or remove a replica.
const COMPOSE_LABELS: &str = "com.docker.compose.";

impl Binder<'_, '_> {
    pub(super) fn image(&mut self, at: &At<'_>) {
        let Some(text) = at.text(self.out) else {
            return;
        };
        match image_problem(text) {
            Some(problem) => at.invalid(
                format!("`{text}` is not an image: {problem}"),
                "write `name:tag` or `registry/name:tag@sha256:…`, such as `nginx:1.29`",
                self.out,
            ),
            None => self.container.image = ImageRef::new(text),
        }
    }

    pub(super) fn command(&mut self, at: &At<'_>) {
        self.container.command = command(at, self.out);
    }

    pub(super) fn entrypoint(&mut self, at: &At<'_>) {
        self.container.entrypoint = command(at, self.out);
    }

    pub(super) fn user(&mut self, at: &At<'_>) {
        self.container.user = at.some_text(self.out);
    }

    pub(super) fn group_add(&mut self, at: &At<'_>) {
        self.container.group_add = at.unique_texts(self.out).unwrap_or_default();
    }

    pub(super) fn working_dir(&mut self, at: &At<'_>) {
        let Some(path) = at.some_text(self.out) else {
            return;
        };
        if path.starts_with('/') {
            self.container.working_dir = Some(path);
        } else {
            let message = format!("`{path}` is not an absolute path");
            at.invalid(
                message,
                "write the path inside the container, from `/`",
                self.out,
            );
        }
    }

    pub(super) fn hostname(&mut self, at: &At<'_>) {
        self.container.hostname = host_name(at, self.out);
    }

    pub(super) fn domainname(&mut self, at: &At<'_>) {
        self.container.domainname = host_name(at, self.out);
    }

    pub(super) fn labels(&mut self, at: &At<'_>) {
        let Some(labels) = at.labels(self.out) else {
            return;
        };
        for key in labels.keys().filter(|key| key.starts_with(COMPOSE_LABELS)) {
            at.invalid(
                format!("the label `{key}` belongs to docker compose"),
                "remove it: phoenixd sets it on each replica, as docker compose would",
                self.out,
            );
        }
        self.container.labels = labels;
    }

    pub(super) fn annotations(&mut self, at: &At<'_>) {
        self.container.annotations = at.labels(self.out).unwrap_or_default();
    }

    pub(super) fn init(&mut self, at: &At<'_>) {
        self.container.init = at.boolean(self.out);
    }

    pub(super) fn stop_signal(&mut self, at: &At<'_>) {
        let Some(signal) = at.some_text(self.out) else {
            return;
        };
        if signal
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-'))
        {
            self.container.stop_signal = Some(signal);
        } else {
            let message = format!("`{signal}` is not a signal");
            at.invalid(
                message,
                "write its name or number, such as `SIGTERM`",
                self.out,
            );
        }
    }

    pub(super) fn stop_grace_period(&mut self, at: &At<'_>) {
        if let Some(grace) = at.go_duration(self.out) {
            self.container.stop_grace = grace;
        }
    }

    pub(super) fn logging(&mut self, at: &At<'_>) {
        let Some(pairs) = at.fields(&["driver", "options"], self.out) else {
            return;
        };
        let mut logging = Logging {
            driver: None,
            options: std::collections::BTreeMap::new(),
        };
        for pair in pairs.iter().filter(|pair| !pair.value.is_null()) {
            match pair.key {
                "driver" => logging.driver = pair.value.some_text(self.out),
                _ => logging.options = pair.value.options(self.out).unwrap_or_default(),
            }
        }
        self.container.logging = Some(logging);
    }

    pub(super) fn restart(&mut self, at: &At<'_>) {
        let Some(policy) = at.text(self.out) else {
            return;
        };
        match policy.split(':').next().unwrap_or_default() {
            "" | "no" | "false" => {}
            "always" | "on-failure" | "unless-stopped" => self.out.warning(
                at,
                "restart-ignored",
                format!("`restart: {policy}` has no effect on a phoenix: phoenixd replaces what has ended"),
                "remove it, or write `restart: \"no\"`",
            ),
            _ => at.invalid(
                format!("`{policy}` is not a restart policy"),
                "write `restart: \"no\"`: phoenixd replaces what has ended",
                self.out,
            ),
        }
    }

    pub(super) fn pull_policy(&mut self, at: &At<'_>) {
        let Some(text) = at.some_text(self.out) else {
            return;
        };
        match PullPolicy::parse(&text) {
            Some(policy) => self.pull = Some((policy, at.node.place.clone())),
            None => at.invalid(
                format!("`{text}` is not a pull policy"),
                "write `always`, `missing`, `never`, `build`, `daily`, `weekly` or `every_12h`",
                self.out,
            ),
        }
    }

    pub(super) fn scale(&mut self, at: &At<'_>) {
        self.bind_replicas(at, "scale");
    }

    pub(super) fn healthcheck(&mut self, at: &At<'_>) {
        const FIELDS: [&str; 7] = [
            "test",
            "interval",
            "timeout",
            "retries",
            "start_period",
            "start_interval",
            "disable",
        ];
        let Some(pairs) = at.fields(&FIELDS, self.out) else {
            return;
        };
        let mut check = Healthcheck {
            test: HealthTest::Inherit,
            interval: None,
            timeout: None,
            retries: None,
            start_period: None,
            start_interval: None,
        };
        let mut disabled = false;
        for pair in pairs.iter().filter(|pair| !pair.value.is_null()) {
            let (value, out) = (&pair.value, &mut *self.out);
            match pair.key {
                "test" => check.test = health_test(value, out).unwrap_or(HealthTest::Inherit),
                "interval" => check.interval = value.go_duration(out),
                "timeout" => check.timeout = value.go_duration(out),
                "retries" => check.retries = value.integer(0, i64::from(i32::MAX), out),
                "start_period" => check.start_period = value.go_duration(out),
                "start_interval" => check.start_interval = value.go_duration(out),
                _ => disabled = value.boolean(out).unwrap_or_default(),
            }
        }
        if disabled {
            check.test = HealthTest::None;
        }
        self.container.healthcheck = Some(check);
    }
}

/// A command: a text that is split into words, or a list that is taken as it is. An empty one clears the image's.
fn command(at: &At<'_>, out: &mut Problems) -> Option<Vec<String>> {
    let Some(text) = at.as_text() else {
        let words = at.text_or_texts(out)?;
        return Some(words.into_iter().map(|(word, _)| word.to_owned()).collect());
    };
    match shell::split(text) {
        Ok(words) => Some(words),
        Err(SplitError::Open(quote)) => {
            let message = if quote == '\\' {
                "the command ends with a backslash".to_owned()
            } else {
                format!("a `{quote}` is never closed in this command")
            };
            at.invalid(message, "close it, or write the command as a list", out);
            None
        }
        Err(SplitError::Operator(letter)) => {
            at.invalid(
                format!(
                    "no shell runs this command, so `{letter}` would not do what it does in one"
                ),
                "write `[\"sh\", \"-c\", \"…\"]` to use a shell, or put quotes around it",
                out,
            );
            None
        }
    }
}

fn health_test(at: &At<'_>, out: &mut Problems) -> Option<HealthTest> {
    if let Some(text) = at.as_text() {
        return Some(HealthTest::CmdShell(text.to_owned()));
    }
    let words: Vec<String> = at
        .text_or_texts(out)?
        .into_iter()
        .map(|(word, _)| word.to_owned())
        .collect();
    let (kind, rest) = words.split_first()?;
    match (kind.as_str(), rest) {
        ("NONE", []) => Some(HealthTest::None),
        ("CMD", [_, ..]) => Some(HealthTest::Cmd(rest.to_vec())),
        ("CMD-SHELL", [command]) => Some(HealthTest::CmdShell(command.clone())),
        _ => {
            at.invalid(
                "a health check's list begins with `CMD`, `CMD-SHELL` or `NONE`, with what it runs behind it",
                "write `[CMD, program, argument]`, or one text for a shell",
                out,
            );
            None
        }
    }
}

fn host_name(at: &At<'_>, out: &mut Problems) -> Option<String> {
    let name = at.some_text(out)?;
    let is_valid = name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && label
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        });
    if is_valid {
        return Some(name);
    }
    let message = format!("`{name}` is not a host name");
    let hint = "use letters, digits and `-`, at most 63 between two dots";
    at.invalid(message, hint, out);
    None
}
