//! The `loadbalance` directive: its weights, read and followed.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use portolan_config as config;
use portolan_server::{LoadBalance, Weights};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A directive at work. Its weights are loaded now and followed until `stop`.
pub(crate) fn start(
    directive: &config::LoadBalance,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<LoadBalance> {
    let weights = match &directive.policy {
        config::LoadBalancePolicy::RoundRobin => None,
        config::LoadBalancePolicy::Weighted { file, reload } => {
            let weights = Arc::new(ArcSwap::from_pointee(read_weights(file)?));
            if let Some(interval) = reload {
                let stop = stop.clone();
                let follow = follow_weights(file.clone().into(), *interval, Arc::clone(&weights));
                tasks.spawn(async move {
                    stop.run_until_cancelled(follow).await;
                });
            }
            Some(weights)
        }
    };
    Ok(LoadBalance {
        weights,
        prefer: directive.prefer.clone(),
    })
}

/// Reads a file of weights.
fn read_weights(file: &Path) -> anyhow::Result<Weights> {
    let name = file.display();
    let text = fs::read_to_string(file).with_context(|| name.to_string())?;
    Weights::parse(&text).with_context(|| name.to_string())
}

/// Reads a file of weights again and again. A file with a mistake leaves the
/// weights as they are, and is reported once.
async fn follow_weights(file: Box<Path>, interval: Duration, weights: Arc<ArcSwap<Weights>>) {
    let mut reported = None;
    loop {
        tokio::time::sleep(interval).await;
        let path = file.clone();
        let read = tokio::task::spawn_blocking(move || read_weights(&path)).await;
        match read {
            Ok(Ok(fresh)) => {
                reported = None;
                if **weights.load() != fresh {
                    weights.store(Arc::new(fresh));
                }
            }
            Ok(Err(error)) => {
                let text = format!("{error:#}");
                if reported.as_ref() != Some(&text) {
                    tracing::warn!(plugin = "loadbalance", "weights stay as they were: {text}");
                    reported = Some(text);
                }
            }
            Err(_) => return,
        }
    }
}
