//! Building an image by the engine's own builder (`POST /build`, API 1.41 and later), which every engine has.
//!
//! What is asked for is what docker compose asks the same builder for (docker/compose v2.40.3,
//! `pkg/compose/build_classic.go`). The context is sent while it is read, and never held.
//!
//! Not here: when an image is built (`daemon`), what is in the context (`context`).

use std::io::{self, Write};
use std::time::Duration;

use futures::{Stream, StreamExt};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::http::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::connect::within;
use super::context::{Context, ContextError};
use super::lines::Lines;
use super::transport::{encoded, request, request_streaming};
use super::{Docker, Error, compose_labels, error};
use crate::spec::{Build, BuildContext, Dockerfile, ImageRef, ProjectName, ServiceName};

/// How long a build may say nothing. A step that compiles something is silent for minutes.
const SILENCE: Duration = Duration::from_hours(1);
/// How much of the context is sent at once, and how many of these wait for the engine.
const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS: usize = 4;
/// How many of a step's last lines are kept for the error.
const LAST_WORDS: usize = 20;
/// The longest line of a build's output that is kept.
const LINE_BYTES: usize = 4 << 10;

/// For whom an image is built, and under which name.
#[derive(Clone, Copy, Debug)]
pub struct ImageOf<'a> {
    /// The project, for the image's labels.
    pub project: &'a ProjectName,
    /// The service, likewise.
    pub service: &'a ServiceName,
    /// The image's name.
    pub image: &'a ImageRef,
}

/// Why an image was not built. Nothing has its name then that did not have it before.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The build context cannot be sent.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A step failed.
    #[error("{}{message}", .step.as_deref().map(|step| format!("{step}: ")).unwrap_or_default())]
    Step {
        /// The step (`Step 2/3 : RUN make`); `None` before the first one.
        step: Option<String>,
        /// The engine's words.
        message: String,
        /// The last lines that the step wrote. Hostile text.
        output: Vec<String>,
    },
    /// The engine did not build.
    #[error(transparent)]
    Engine(#[from] Error),
}

impl Docker {
    /// Builds an image and gives it its names; `progress` is told each line of the build. Hostile text.
    ///
    /// May take as long as it takes; ends when the engine says nothing for an hour.
    ///
    /// # Errors
    /// [`BuildError`].
    ///
    /// # Cancel safety
    /// The engine gives up a build whose caller went away, and removes its containers; layers stay as a cache.
    pub async fn build(
        &self,
        of: ImageOf<'_>,
        build: &Build,
        progress: impl FnMut(&str) + Send,
    ) -> Result<(), BuildError> {
        let mut query = Query::of(of, build);
        let (request, sender) = match &build.context {
            BuildContext::Directory(directory) => {
                let (directory, dockerfile) = (directory.clone(), build.dockerfile.clone());
                let opened =
                    tokio::task::spawn_blocking(move || Context::open(&directory, &dockerfile));
                let context = finished(opened).await?;
                query.add("dockerfile", context.dockerfile());
                let (chunks, sender) = send(context);
                let request =
                    request_streaming(Method::POST, &query.path(), "application/x-tar", chunks)?;
                (request, Some(sender))
            }
            BuildContext::Remote(address) => {
                query.add("remote", address);
                if let Dockerfile::File(path) = &build.dockerfile {
                    query.add("dockerfile", path);
                }
                (request(Method::POST, &query.path())?, None)
            }
        };
        let opened = within("build", SILENCE, self.wire.open("build", request)).await;
        let ended = match opened {
            Ok(response) => self.follow_build(response.into_body(), progress).await,
            Err(error) => Err(BuildError::Engine(error)),
        };
        match (ended, sender) {
            // The engine only sees that the context broke off; why, is known here.
            (Err(error), Some(sender)) => match finished(sender).await {
                Ok(()) | Err(ContextError::NotTaken(_)) => Err(error),
                Err(context) => Err(context.into()),
            },
            (ended, _) => ended,
        }
    }

    async fn follow_build(
        &self,
        mut body: Incoming,
        mut progress: impl FnMut(&str) + Send,
    ) -> Result<(), BuildError> {
        let mut lines = Lines::default();
        let mut output = Output::default();
        loop {
            let frame = within("build", SILENCE, async { Ok(body.frame().await) }).await?;
            let bytes = match frame {
                None => return Ok(()),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    return Err(BuildError::Engine(Error::Unavailable {
                        address: self.address().to_owned(),
                        message: error::deepest(&error),
                    }));
                }
            };
            lines.push(&bytes);
            while let Some(message) = lines.next::<Message>()? {
                if let Some(failure) = output.take(message, &mut progress) {
                    return Err(failure);
                }
            }
        }
    }
}

/// Begins to write the context, chunk by chunk, as fast as the engine takes it.
fn send(
    context: Context,
) -> (
    impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static,
    JoinHandle<Result<(), ContextError>>,
) {
    let (chunks, taken) = mpsc::channel(CHUNKS);
    let sender = tokio::task::spawn_blocking(move || {
        let out = Chunks {
            chunks: chunks.clone(),
            buffer: Vec::new(),
        };
        let sent = context.write(out);
        if let Err(error) = &sent {
            // A body that ends early must not look like one that is whole.
            let broken = io::Error::other(error.to_string());
            drop(chunks.blocking_send(Err(broken)));
        }
        sent
    });
    let stream = futures::stream::unfold(taken, |mut taken| async {
        let chunk = taken.recv().await?;
        Some((chunk, taken))
    });
    (stream.boxed(), sender)
}

/// Waits for a blocking task.
async fn finished<T>(task: JoinHandle<Result<T, ContextError>>) -> Result<T, ContextError> {
    match task.await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Where the archive is written to.
struct Chunks {
    chunks: mpsc::Sender<Result<Bytes, io::Error>>,
    buffer: Vec<u8>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        if chunk.is_empty() {
            return Ok(());
        }
        self.chunks
            .blocking_send(Ok(chunk))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The parameters of the request.
struct Query(Vec<(&'static str, String)>);

impl Query {
    fn of(of: ImageOf<'_>, build: &Build) -> Self {
        let mut labels = build.labels.clone();
        labels.extend(compose_labels::of_image(of.project, of.service));
        // The classic builder, which the plain build API means; intermediate containers are removed in any case.
        let mut query = Self(Vec::new());
        for (key, value) in [("version", "1"), ("rm", "1"), ("forcerm", "1")] {
            query.add(key, value);
        }
        query.add("t", of.image.as_str());
        for tag in &build.tags {
            query.add("t", tag);
        }
        query.add("labels", &json!(labels).to_string());
        if !build.args.is_empty() {
            query.add("buildargs", &json!(build.args).to_string());
        }
        if !build.cache_from.is_empty() {
            query.add("cachefrom", &json!(build.cache_from).to_string());
        }
        for (key, is_set) in [("nocache", build.no_cache), ("pull", build.pull)] {
            if is_set {
                query.add(key, "1");
            }
        }
        for (key, value) in [
            ("target", &build.target),
            ("networkmode", &build.network),
            ("platform", &build.platform),
        ] {
            if let Some(value) = value {
                query.add(key, value);
            }
        }
        if let Some(bytes) = build.shm_size_bytes {
            query.add("shmsize", &bytes.to_string());
        }
        if !build.ulimits.is_empty() {
            let ulimits: Vec<_> = (build.ulimits.iter())
                .map(|(name, limit)| json!({"Name": name, "Soft": limit.soft, "Hard": limit.hard}))
                .collect();
            query.add("ulimits", &json!(ulimits).to_string());
        }
        for host in &build.extra_hosts {
            query.add("extrahosts", host);
        }
        query
    }

    fn add(&mut self, key: &'static str, value: &str) {
        self.0.push((key, encoded(value)));
    }

    fn path(&self) -> String {
        let pairs: Vec<String> = (self.0.iter())
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        format!("/build?{}", pairs.join("&"))
    }
}

/// One message of a build (moby v28.5.2, `pkg/jsonmessage`).
#[derive(Deserialize)]
struct Message {
    stream: Option<String>,
    status: Option<String>,
    id: Option<String>,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
    #[serde(rename = "progressDetail")]
    progress: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    message: Option<String>,
}

/// How the engine paints what a step writes to stderr (moby v28.5.2, `pkg/streamformatter`).
const PAINT: [&str; 2] = ["\u{1b}[91m", "\u{1b}[0m"];
/// What the engine itself writes around a step: ids of layers and containers.
const NOISE: [&str; 2] = [" ---> ", "Removing intermediate container "];

/// The engine's words without the step's, which are told already.
fn in_short(failure: &str) -> String {
    match failure.rsplit_once("' returned a non-zero code: ") {
        Some((command, code)) if command.starts_with("The command '") => {
            format!("it ended with exit code {code}")
        }
        Some(_) | None => failure.to_owned(),
    }
}

/// What a build has written so far, as far as it is of use.
#[derive(Default)]
struct Output {
    /// The beginning of a line.
    begun: String,
    step: Option<String>,
    last: std::collections::VecDeque<String>,
}

impl Output {
    /// Takes a message; the failure where it is one.
    fn take(&mut self, message: Message, progress: &mut impl FnMut(&str)) -> Option<BuildError> {
        if let Some(text) = message.stream {
            self.begun.push_str(&text);
            while let Some(end) = self.begun.find(['\n', '\r']) {
                let line: String = self.begun.drain(..=end).collect();
                self.line(line.trim_end(), progress);
            }
            if self.begun.len() > LINE_BYTES {
                let line = std::mem::take(&mut self.begun);
                self.line(&line, progress);
            }
        }
        // Of a base image that is pulled: the steps, not the bytes.
        if let Some(status) = message.status.filter(|_| message.progress.is_none()) {
            let id = message.id.map(|id| format!("{id}: ")).unwrap_or_default();
            self.line(&format!("{id}{status}"), progress);
        }
        let detail = message.error_detail.and_then(|detail| detail.message);
        let failure = detail.or(message.error)?;
        let begun = std::mem::take(&mut self.begun);
        self.line(&begun, progress);
        Some(BuildError::Step {
            step: self.step.take(),
            message: in_short(failure.trim_end()),
            output: std::mem::take(&mut self.last).into(),
        })
    }

    fn line(&mut self, line: &str, progress: &mut impl FnMut(&str)) {
        let line = PAINT
            .iter()
            .fold(line.to_owned(), |line, paint| line.replace(paint, ""));
        if line.trim().is_empty() {
            return;
        }
        let line = line
            .get(..line.floor_char_boundary(LINE_BYTES))
            .unwrap_or(&line);
        if NOISE.iter().any(|noise| line.starts_with(noise)) {
            return;
        }
        progress(line);
        if line.starts_with("Step ") && line.contains(" : ") {
            self.step = Some(line.to_owned());
            self.last.clear();
            return;
        }
        if self.last.len() == LAST_WORDS {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }
}
