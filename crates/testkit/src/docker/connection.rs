//! One connection to the fake engine: one request, one answer.

use std::io;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncBufReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::io::BufReader;
use tokio::net::UnixStream;

use super::Emission;
use super::EngineControl;
use super::Request;
use super::Shared;

/// Longest head of a request that is read, in lines.
const MAX_HEAD: usize = 100;

/// An open event stream.
struct Subscription(Arc<Shared>);

// === impl Subscription ===

impl Subscription {
    /// Counts a stream.
    fn new(shared: &Arc<Shared>) -> Self {
        shared.subscribers.send_modify(|open| *open += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0
            .subscribers
            .send_modify(|open| *open = open.saturating_sub(1));
    }
}

/// Serves a connection.
pub(super) async fn serve(stream: UnixStream, shared: Arc<Shared>) {
    // What goes wrong here is for the client to notice.
    let _ = answer(stream, shared).await;
}

/// Reads a request and answers it.
async fn answer(mut stream: UnixStream, shared: Arc<Shared>) -> io::Result<()> {
    let Some(request) = read_head(&mut stream).await? else {
        return Ok(());
    };
    let target = request.target.clone();
    shared.state().requests.push(request);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let path = unversioned(path);
    match path {
        "/_ping" => write(&mut stream, 200, "text/plain", "OK").await,
        "/version" => {
            let version = json!({ "Version": "99.0-fake", "ApiVersion": "1.53" });
            write_json(&mut stream, 200, &version).await
        }
        "/containers/json" => list(&mut stream, &shared).await,
        "/events" => events(&mut stream, &shared, query).await,
        _ => match path
            .strip_prefix("/containers/")
            .and_then(|rest| rest.strip_suffix("/json"))
        {
            Some(id) => inspect(&mut stream, &shared, id).await,
            None => write_json(&mut stream, 404, &json!({ "message": "page not found" })).await,
        },
    }
}

/// Answers `/containers/json`.
async fn list(stream: &mut UnixStream, shared: &Arc<Shared>) -> io::Result<()> {
    let (failure, list, delay, hook) = {
        let mut state = shared.state();
        let failure = state.next_failure("list");
        let hook = if failure.is_none() {
            state.after_list.take()
        } else {
            None
        };
        (failure, state.list(), state.list_delay, hook)
    };
    if let Some(hook) = hook {
        hook(&EngineControl {
            shared: Arc::clone(shared),
        });
    }
    tokio::time::sleep(delay).await;
    match failure {
        Some(status) => write_json(stream, status, &json!({ "message": "list fails" })).await,
        None => write_json(stream, 200, &list).await,
    }
}

/// Answers `/containers/{id}/json`.
async fn inspect(stream: &mut UnixStream, shared: &Arc<Shared>, id: &str) -> io::Result<()> {
    let (failure, found) = {
        let mut state = shared.state();
        (state.next_failure("inspect"), state.inspect(id))
    };
    match (failure, found) {
        (Some(status), _) => {
            write_json(stream, status, &json!({ "message": "inspect fails" })).await
        }
        (None, Some(container)) => write_json(stream, 200, &container).await,
        (None, None) => write_json(stream, 404, &json!({ "message": "no such container" })).await,
    }
}

/// Answers `/events`: the past from `since` on, then the present.
async fn events(stream: &mut UnixStream, shared: &Arc<Shared>, query: &str) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let delay = shared.state().subscribe_delay;
    tokio::time::sleep(delay).await;
    let since = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("since="))
        .and_then(nanos);
    let (past, mut present) = {
        let state = shared.state();
        let is_wanted = |time: u128| since.is_some_and(|since| time >= since);
        let past: Vec<String> = state
            .past
            .iter()
            .filter(|(t, _)| is_wanted(*t))
            .map(|(_, line)| line.clone())
            .collect();
        (past, shared.events.subscribe())
    };
    let _subscription = Subscription::new(shared);
    for line in past {
        write_chunk(stream, line.as_bytes()).await?;
    }
    let mut closed = [0];
    loop {
        tokio::select! {
            emission = present.recv() => match emission {
                Ok(Emission::Line(line)) => write_chunk(stream, line.as_bytes()).await?,
                Ok(Emission::Cut(octets)) => return write_chunk(stream, &octets).await,
                Err(_) => return Ok(()),
            },
            // The client sends nothing more: it can only have gone.
            _ = tokio::io::AsyncReadExt::read(stream, &mut closed) => return Ok(()),
        }
    }
}

/// Reads the head of a request.
async fn read_head(stream: &mut UnixStream) -> io::Result<Option<Request>> {
    let mut lines = BufReader::new(stream).lines();
    let Some(first) = lines.next_line().await? else {
        return Ok(None);
    };
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
    };
    for _ in 0..MAX_HEAD {
        match lines.next_line().await? {
            Some(line) if !line.is_empty() => {}
            _ => return Ok(Some(request)),
        }
    }
    Ok(None)
}

/// A path without the API version before it.
fn unversioned(path: &str) -> &str {
    let is_version = |word: &str| word.starts_with('v') && word.contains('.');
    match path
        .strip_prefix('/')
        .and_then(|rest| rest.find('/').map(|end| (rest, end)))
    {
        Some((rest, end)) if rest.get(..end).is_some_and(is_version) => {
            rest.get(end..).unwrap_or(path)
        }
        _ => path,
    }
}

/// Reads a time as clients write it: seconds, perhaps with nanoseconds.
fn nanos(text: &str) -> Option<u128> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let fraction: u128 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(seconds.parse::<u128>().ok()? * 1_000_000_000 + fraction)
}

/// Writes an answer in JSON.
async fn write_json(stream: &mut UnixStream, status: u16, body: &Value) -> io::Result<()> {
    write(stream, status, "application/json", &body.to_string()).await
}

/// Writes an answer.
async fn write(stream: &mut UnixStream, status: u16, kind: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} Status\r\nApi-Version: 1.53\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await
}

/// Writes a chunk of an answer whose length is not known.
async fn write_chunk(stream: &mut UnixStream, octets: &[u8]) -> io::Result<()> {
    let mut chunk = format!("{:x}\r\n", octets.len()).into_bytes();
    chunk.extend_from_slice(octets);
    chunk.extend_from_slice(b"\r\n");
    stream.write_all(&chunk).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_version() {
        for (path, expected) in [
            ("/v1.53/events", "/events"),
            ("/events", "/events"),
            ("/v1.41/containers/c1/json", "/containers/c1/json"),
            ("/containers/json", "/containers/json"),
        ] {
            assert_eq!(unversioned(path), expected);
        }
    }

    #[test]
    fn times_are_read_to_the_nanosecond() {
        assert_eq!(nanos("7"), Some(7_000_000_000));
        assert_eq!(nanos("7.000000001"), Some(7_000_000_001));
        assert_eq!(nanos("7.5"), Some(7_500_000_000));
        assert_eq!(nanos("x"), None);
    }
}
