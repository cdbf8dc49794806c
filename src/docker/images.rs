//! Images and logs: pull, load, remove, and the last words of a container.
//!
//! Not here: when an image is pulled (`daemon`), and making one (`demo`).

use std::io;
use std::time::Duration;

use bollard::query_parameters::{
    ListImagesOptionsBuilder, LogsOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
};
use futures::{Stream, StreamExt};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Bytes;
use hyper::http::Method;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::connect::within;
use super::lines::Lines;
use super::transport::{Body, encoded, request, request_streaming};
use super::{Docker, Error, calls, error};
use crate::clock;
use crate::spec::{ContainerId, ImageId, ImageRef};

/// How long a pull or a load may say nothing: the check of a large layer's digest is silent.
const SILENCE: Duration = Duration::from_mins(5);
/// How much of an archive is read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// How much of a container's log is kept, from its end.
const LOG_BYTES: usize = 64 << 10;

/// A step of a pull or a load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The layer, where it is about one.
    pub id: Option<String>,
    /// What happens (`Downloading`).
    pub status: String,
    /// Bytes done, where they are counted.
    pub current: Option<u64>,
    /// Bytes altogether, where that is known.
    pub total: Option<u64>,
}

impl Docker {
    /// Pulls an image without credentials; `progress` is told each step. A name without tag and digest means
    /// `latest`, as everywhere in Docker (the API alone would take it for all tags). `platform` is
    /// `os[/arch[/variant]]`.
    ///
    /// May take as long as it takes; ends when the engine says nothing for 5 minutes.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such image or it asks for credentials, [`Error::Refused`] with the
    /// registry's or the engine's words.
    ///
    /// # Cancel safety
    /// The engine gives up a pull whose caller went away; the layers it has stay.
    pub async fn pull(
        &self,
        image: &ImageRef,
        platform: Option<&str>,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<(), Error> {
        let (name, version) = split_ref(image.as_str());
        let mut path = format!(
            "/images/create?fromImage={}&tag={}",
            encoded(name),
            encoded(version)
        );
        if let Some(platform) = platform {
            path.push_str("&platform=");
            path.push_str(&encoded(platform));
        }
        self.follow("pull", request(Method::POST, &path)?, progress)
            .await
    }

    /// How long ago the engine gave an image its name; `None` where there is no such image, and where the engine does
    /// not remember.
    ///
    /// # Errors
    /// That of the failed call, [`Error::Malformed`] for a time that is none.
    pub async fn image_age(&self, image: &ImageRef) -> Result<Option<Duration>, Error> {
        if !calls::is_image_ref(image.as_str()) {
            return Ok(None);
        }
        let inspected = self
            .call(
                "inspect image",
                calls::LOOK,
                self.api.inspect_image(image.as_str()),
            )
            .await;
        let answer = match inspected {
            Ok(answer) => answer,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let field = "Metadata.LastTagTime";
        let text = answer.metadata.and_then(|metadata| metadata.last_tag_time);
        let tagged = clock::docker_timestamp(&text.unwrap_or_default())
            .map_err(|_| Error::Malformed { field })?;
        Ok(tagged.map(|then| {
            let age = clock::wall_now().duration_since(then);
            Duration::try_from(age).unwrap_or_default()
        }))
    }

    /// Loads the images of an archive, as `docker load` does.
    ///
    /// The engine has 5 minutes to take the archive.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is no such archive.
    ///
    /// # Cancel safety
    /// Layers that were read whole may stay.
    pub async fn load_image(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<(), Error> {
        let request = request_streaming(
            Method::POST,
            "/images/load?quiet=true",
            "application/x-tar",
            chunks(archive),
        )?;
        self.follow("load", request, |_| ()).await
    }

    /// The names of all images with a label, `KEY=VALUE`.
    ///
    /// # Errors
    /// That of the failed call.
    pub async fn images_labelled(&self, label: &str) -> Result<Vec<ImageRef>, Error> {
        let filters = [("label".to_owned(), vec![label.to_owned()])];
        let options = ListImagesOptionsBuilder::new()
            .filters(&filters.into_iter().collect())
            .build();
        let listed = self.call(
            "list images",
            calls::LOOK,
            self.api.list_images(Some(options)),
        );
        let names = listed.await?.into_iter().flat_map(|image| image.repo_tags);
        Ok(names.map(ImageRef::new).collect())
    }

    /// Gives an image that is there a further name; `false` where there is no such image (any more).
    ///
    /// # Errors
    /// That of the failed call.
    pub async fn tag_image(&self, id: &ImageId, name: &ImageRef) -> Result<bool, Error> {
        let (repository, tag) = split_ref(name.as_str());
        let options = TagImageOptionsBuilder::new()
            .repo(repository)
            .tag(tag)
            .build();
        let tagged = self.call(
            "tag image",
            calls::CHANGE,
            self.api.tag_image(id.as_str(), Some(options)),
        );
        match tagged.await {
            Ok(()) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes an image's name, and the image with its last one. Gone already counts as done.
    ///
    /// # Errors
    /// [`Error::Conflict`] while a container uses it.
    pub async fn remove_image(&self, image: &ImageRef) -> Result<(), Error> {
        if !calls::is_image_ref(image.as_str()) {
            return Ok(());
        }
        let removed = self
            .call(
                "remove image",
                calls::CHANGE,
                self.api
                    .remove_image(image.as_str(), None::<RemoveImageOptions>, None),
            )
            .await;
        match removed {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The last lines that a container wrote to stdout and stderr, at most 64 KiB of them. Hostile text.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Refused`] where its log driver cannot be read from.
    pub async fn logs_tail(&self, id: &ContainerId, lines: u32) -> Result<String, Error> {
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .tail(&lines.to_string())
            .build();
        let read = async {
            let mut tail: Vec<u8> = Vec::new();
            let mut output = std::pin::pin!(self.api.logs(id.as_str(), Some(options)));
            while let Some(part) = output.next().await {
                tail.extend_from_slice(&part?.into_bytes());
                let excess = tail.len().saturating_sub(LOG_BYTES);
                tail.drain(..excess);
            }
            Ok(tail)
        };
        let tail = self.call("logs", calls::LOOK, read).await?;
        Ok(String::from_utf8_lossy(&tail).into_owned())
    }

    /// Reads a stream of progress to its end; a failure is an entry of it.
    async fn follow(
        &self,
        call: &'static str,
        request: Request<Body>,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<(), Error> {
        let opened = within(call, SILENCE, self.wire.open(call, request)).await?;
        let mut body = opened.into_body();
        let mut lines = Lines::default();
        loop {
            let frame = within(call, SILENCE, async { Ok(body.frame().await) }).await?;
            let bytes = match frame {
                None => return Ok(()),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    return Err(Error::Unavailable {
                        address: self.address().to_owned(),
                        message: error::deepest(&error),
                    });
                }
            };
            lines.push(&bytes);
            while let Some(step) = lines.next::<Step>()? {
                progress(step.into_progress()?);
            }
        }
    }
}

/// One entry of a stream of progress (moby v28.5.2, `pkg/jsonmessage`).
#[derive(Deserialize)]
struct Step {
    id: Option<String>,
    status: Option<String>,
    stream: Option<String>,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
    #[serde(rename = "progressDetail")]
    detail: Option<Detail>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    code: Option<u16>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    current: Option<u64>,
    total: Option<u64>,
}

impl Step {
    fn into_progress(self) -> Result<Progress, Error> {
        let (code, message) = match self.error_detail {
            Some(detail) => (detail.code, detail.message),
            None => (None, None),
        };
        if let Some(message) = message.or(self.error) {
            return Err(error::refusal(code.unwrap_or(500), message));
        }
        let detail = self.detail;
        Ok(Progress {
            id: self.id,
            status: self.status.or(self.stream).unwrap_or_default(),
            current: detail.as_ref().and_then(|detail| detail.current),
            total: detail.as_ref().and_then(|detail| detail.total),
        })
    }
}

/// Name and version, as Docker's client splits them for the API: the digest where there is one, else the tag.
fn split_ref(image: &str) -> (&str, &str) {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    // A colon before a slash is a registry's port.
    let (bare, tag) = match name.rsplit_once(':') {
        Some((bare, tag)) if !tag.contains('/') => (bare, Some(tag)),
        Some(_) | None => (name, None),
    };
    (bare, digest.or(tag).unwrap_or("latest"))
}

/// An archive in pieces.
fn chunks(
    archive: impl AsyncRead + Send + Unpin + 'static,
) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static {
    futures::stream::try_unfold(archive, async |mut archive| {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let read = (&mut archive)
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut chunk)
            .await?;
        Ok((read > 0).then(|| (Bytes::from(chunk), archive)))
    })
}

#[cfg(test)]
mod tests {
    use super::split_ref;

    #[test]
    fn an_image_is_pulled_by_its_digest_or_its_tag() {
        for (image, name, version) in [
            ("nginx", "nginx", "latest"),
            ("nginx:1.27", "nginx", "1.27"),
            ("host:5000/app", "host:5000/app", "latest"),
            ("host:5000/app:1", "host:5000/app", "1"),
            ("app@sha256:ab", "app", "sha256:ab"),
            ("host:5000/app:1@sha256:ab", "host:5000/app", "sha256:ab"),
        ] {
            assert_eq!(split_ref(image), (name, version), "{image}");
        }
    }
}
