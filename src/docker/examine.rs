//! A container with everything that the engine says of it, for labels mode: read raw, because a field that no model names
//! would be lost in silence.
//!
//! Not here: what is concluded from it (`adopt`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bollard::query_parameters::ListContainersOptionsBuilder;
use hyper::http::Method;
use serde_json::Value as Json;

use super::connect::within;
use super::transport::request;
use super::{Docker, Error, Vitals, calls};
use crate::adopt::{self, Change, ChangeKind, Examined, Value};
use crate::spec::{ContainerId, ProjectName};

/// The engine walks through the container's whole file system.
const CHANGES: Duration = Duration::from_mins(1);

pub(super) async fn examine(docker: &Docker, id: &ContainerId) -> Result<Option<Examined>, Error> {
    let Some(inspect) = get(
        docker,
        "inspect",
        calls::LOOK,
        &format!("/containers/{id}/json"),
    )
    .await?
    else {
        return Ok(None);
    };
    let image = match inspect.at(&["Image"]).as_text() {
        None => None,
        Some(image) => {
            get(
                docker,
                "inspect image",
                calls::LOOK,
                &format!("/images/{image}/json"),
            )
            .await?
        }
    };
    let Some(changes) = get(
        docker,
        "changes",
        CHANGES,
        &format!("/containers/{id}/changes"),
    )
    .await?
    else {
        return Ok(None);
    };
    let marks = inspect.at(&["Config", "Labels", adopt::ADOPTED]).as_text();
    let marks = marks.map(read_value).unwrap_or_default();
    Ok(Some(Examined {
        image: image
            .map(|image| image.at(&["Config"]).clone())
            .unwrap_or_default(),
        changes: changes.items().iter().filter_map(change).collect(),
        marks,
        inspect,
    }))
}

/// Where a running container is on the engine's host.
pub(super) async fn vitals(docker: &Docker, id: &ContainerId) -> Result<Option<Vitals>, Error> {
    let path = format!("/containers/{id}/json");
    let inspect = get(docker, "inspect", calls::LOOK, &path).await?;
    Ok(inspect.and_then(|inspect| {
        let pid = inspect.at(&["State", "Pid"]).as_set_number()?;
        let upper = inspect.at(&["GraphDriver", "Data", "UpperDir"]).as_text();
        let read_only = inspect.at(&["HostConfig", "ReadonlyRootfs"]).as_bool();
        let labels = inspect.at(&["Config", "Labels"]);
        Some(Vitals {
            pid: u32::try_from(pid).ok()?,
            upper: upper.map(PathBuf::from),
            read_only: read_only.unwrap_or_default(),
            in_pod: labels.at(&[super::labels::ROLE]).as_text().is_some(),
        })
    }))
}

/// An answer of JSON as it is; `None` where there is no such thing.
async fn get(
    docker: &Docker,
    call: &'static str,
    limit: Duration,
    path: &str,
) -> Result<Option<Value>, Error> {
    let answer = within(call, limit, async {
        docker
            .wire
            .exchange(call, request(Method::GET, path)?)
            .await
    })
    .await;
    match answer {
        Ok((_, body)) => {
            let json: Json =
                serde_json::from_slice(&body).map_err(|_| Error::Malformed { field: call })?;
            Ok(Some(value(json)))
        }
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn change(item: &Value) -> Option<Change> {
    // Docker Engine API 1.51, `ChangeType`.
    let kind = match item.at(&["Kind"]).as_number()? {
        1 => ChangeKind::Added,
        2 => ChangeKind::Deleted,
        _ => ChangeKind::Modified,
    };
    Some(Change {
        kind,
        path: item.at(&["Path"]).as_text()?.to_owned(),
    })
}

fn value(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(is) => Value::Bool(is),
        Json::Number(number) => Value::Number(number.to_string()),
        Json::String(text) => Value::Text(text),
        Json::Array(items) => Value::List(items.into_iter().map(value).collect()),
        Json::Object(fields) => Value::Map(
            fields
                .into_iter()
                .map(|(key, field)| (key, value(field)))
                .collect(),
        ),
    }
}

/// A label's text as a value; nothing where it is no JSON.
pub fn read_value(text: &str) -> Value {
    serde_json::from_str(text).map(value).unwrap_or_default()
}

/// A value as a label's text. The same value is always the same text.
pub fn write_value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(is) => is.to_string(),
        Value::Number(number) => number.clone(),
        Value::Text(text) => Json::String(text.clone()).to_string(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(write_value).collect();
            format!("[{}]", items.join(","))
        }
        Value::Map(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}:{}", Json::String(key.clone()), write_value(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
    }
}

/// The filters of a listing of originals: the operator's consent, and docker compose's project.
pub(super) fn original_filters(project: &ProjectName) -> Vec<String> {
    vec![
        adopt::TTL.to_owned(),
        format!("{}={project}", adopt::COMPOSE_PROJECT),
    ]
}

impl Docker {
    /// The projects of docker compose in which a container carries `phoenixd.ttl`.
    ///
    /// # Errors
    /// That of the failed call.
    pub async fn projects_to_adopt(&self) -> Result<BTreeSet<ProjectName>, Error> {
        let filters = [("label".to_owned(), vec![adopt::TTL.to_owned()])];
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters.into_iter().collect())
            .build();
        let listed = self
            .call("list", calls::LOOK, self.api.list_containers(Some(options)))
            .await?;
        let units = listed.into_iter().filter_map(|summary| {
            let labels: BTreeMap<String, String> = summary.labels?.into_iter().collect();
            adopt::unit(&labels)
        });
        Ok(units.map(|unit| unit.project).collect())
    }
}
