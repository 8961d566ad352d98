//! What a node says about itself over HTTP.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use serde_json::Value;

use super::Place;
use crate::exposition;

/// A line of `/members`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its address, if it is known.
    pub address: Option<String>,
    /// Its state.
    pub state: String,
    /// How many records it has.
    pub records: u64,
    /// Whether they are served.
    pub served: bool,
    /// Whether its first synchronization is over.
    pub complete: bool,
}

// === impl Member ===

impl Member {
    /// Reads one.
    fn read(value: &Value) -> anyhow::Result<Self> {
        let text = |key: &str| {
            let text = value.get(key).and_then(Value::as_str);
            Ok::<_, anyhow::Error>(
                text.with_context(|| format!("{key} in {value}"))?
                    .to_owned(),
            )
        };
        let flag = |key: &str| {
            let flag = value.get(key).and_then(Value::as_bool);
            flag.with_context(|| format!("{key} in {value}"))
        };
        Ok(Self {
            id: text("id")?,
            name: text("name")?,
            address: text("address").ok(),
            state: text("state")?,
            records: value
                .get("records")
                .and_then(Value::as_u64)
                .with_context(|| format!("records in {value}"))?,
            served: flag("served")?,
            complete: flag("complete")?,
        })
    }
}

/// Status and body of a page of the node at a place.
pub(super) fn get(place: &Place, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = place.enter(|| {
        let stream = TcpStream::connect_timeout(&place.admin, PATIENCE);
        Ok(stream?)
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the body ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("no end of the head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// The members as the node at a place sees them.
pub(super) fn members(place: &Place) -> anyhow::Result<Vec<Member>> {
    let (status, body) = get(place, "/members")?;
    ensure!(status == 200, "/members: {status} {body}");
    let value: Value = serde_json::from_str(&body).with_context(|| body.clone())?;
    let list = value.as_array().context("/members is no array")?;
    list.iter().map(Member::read).collect()
}

/// The sum of the series of a metric that have all of these labels.
pub(super) fn metric(place: &Place, name: &str, labels: &[&str]) -> anyhow::Result<f64> {
    let (status, body) = get(place, "/metrics")?;
    ensure!(status == 200, "/metrics: {status}");
    exposition::sum(&body, name, labels)
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
