//! What is found at which path.
//!
//! All paths are in the list of [`routes`]; a new one is a variant of [`Serves`]
//! and an entry there.

use std::collections::BTreeSet;

use axum::extract::RawQuery;
use axum::http::header::{CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use tower_http::compression::CompressionLayer;
use tracing::error;

use crate::metrics::{self, Metrics};
use crate::readiness::{Readiness, Status};

use super::connection::Client;
use super::{Order, Serves, Services};

/// A path and what answers there.
struct Route {
    /// The path.
    path: &'static str,
    /// Answers GET and HEAD, or POST; all other methods are refused with 405.
    answer: MethodRouter,
}

/// The routes of a listener that serves all of `serves`; all other paths are
/// refused with 404.
pub(super) fn router(serves: &BTreeSet<Serves>, services: &Services) -> Router {
    let routes = serves.iter().flat_map(|&serves| routes(serves, services));
    routes.fold(Router::new(), |router, Route { path, answer }| {
        router.route(path, answer)
    })
}

/// The routes that belong to `serves`.
fn routes(serves: Serves, services: &Services) -> Vec<Route> {
    match serves {
        Serves::Health => {
            let members = services.members.clone();
            let order = services.flush.clone();
            let flush = async move |Extension(client), fields: HeaderMap, RawQuery(query)| {
                carry_out(
                    &order,
                    client,
                    &fields,
                    query.as_deref().unwrap_or_default(),
                )
            };
            vec![
                Route {
                    path: HEALTH,
                    answer: get(async || "OK"),
                },
                Route {
                    path: "/members",
                    answer: get(async move || json(members.text())),
                },
                Route {
                    path: "/cache/flush",
                    answer: post(flush),
                },
            ]
        }
        Serves::Ready => {
            let readiness = services.readiness.clone();
            vec![Route {
                path: "/ready",
                answer: get(async move || ready(&readiness)),
            }]
        }
        Serves::Version => {
            let version = services.version.clone();
            // Joyride says so in words.
            let refuse = async || (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed\n");
            vec![Route {
                path: "/version",
                answer: get(async move || json(version.text())).fallback(refuse),
            }]
        }
        Serves::Metrics => {
            let metrics = services.metrics.clone();
            let answer = get(async move || exposition(&metrics)).layer(CompressionLayer::new());
            vec![Route {
                path: "/metrics",
                answer,
            }]
        }
    }
}

/// Says whether the server is ready, and what it waits for if not.
fn ready(readiness: &Readiness) -> Response {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    match readiness.status() {
        Status::Ready => "OK".into_response(),
        Status::Unready(names) => (unavailable, names.join(",")).into_response(),
        Status::ShuttingDown => (unavailable, "Shutting down").into_response(),
    }
}

/// Does what is ordered, if who orders it is on this host. A page in a browser
/// may be the one who asks without anybody's wish; it says where it is from.
fn carry_out(order: &Order, client: Client, fields: &HeaderMap, query: &str) -> Response {
    if client == Client::Elsewhere {
        return (StatusCode::FORBIDDEN, "only from the host itself\n").into_response();
    }
    if fields.contains_key(ORIGIN) {
        return (StatusCode::FORBIDDEN, "not from a page in a browser\n").into_response();
    }
    match order.carry_out(query) {
        Ok(text) => json(text),
        Err(text) => (StatusCode::BAD_REQUEST, format!("{text}\n")).into_response(),
    }
}

/// A JSON text.
fn json(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

/// All metrics as text.
fn exposition(metrics: &Metrics) -> Response {
    match metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(cause) => {
            error!(target: "plugin", plugin = "prometheus", %cause, "cannot encode metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, "cannot encode metrics").into_response()
        }
    }
}

/// The path that tells that the process is alive.
pub(super) const HEALTH: &str = "/health";
