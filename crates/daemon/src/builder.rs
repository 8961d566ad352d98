//! The one writer of the record table, as a task.

use std::time::Duration;

use portolan_table::{Batch, Builder, LayerId, LayerOptions};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long changes gather after one was published: many changes are one
/// swap, and a single one does not wait.
const COALESCE: Duration = Duration::from_millis(10);

/// How long after a snapshot was replaced its last reader is done with it.
const RECLAIM: Duration = Duration::from_secs(1);

/// Batches that sources may have on the way; then they wait.
const BATCHES: usize = 256;

/// Orders that may be on the way.
const ORDERS: usize = 16;

/// What the daemon tells the builder.
#[derive(Debug)]
enum Order {
    /// A layer comes into being.
    Add(LayerId, LayerOptions),
    /// A layer ends, with all its rows.
    Remove(LayerId),
}

/// Talks to the builder.
#[derive(Clone, Debug)]
pub(crate) struct BuilderHandle {
    /// For sources.
    batches: mpsc::Sender<Batch>,
    /// For the daemon.
    orders: mpsc::Sender<(Order, oneshot::Sender<()>)>,
}

/// The task.
struct BuilderTask {
    /// The table's writer.
    builder: Builder,
    /// Changes of sources.
    batches: mpsc::Receiver<Batch>,
    /// Orders of the daemon.
    orders: mpsc::Receiver<(Order, oneshot::Sender<()>)>,
    /// What is counted.
    families: Families,
    /// Callbacks of batches that are applied and not yet published.
    unpublished: Vec<Box<dyn FnOnce() + Send>>,
    /// Whether something was applied since the last snapshot.
    applied: bool,
    /// Whether an earlier snapshot may be left to free.
    retired: bool,
}

/// What the builder counts.
struct Families {
    /// `portolan_table_names`
    names: IntGauge,
    /// `portolan_table_rows`
    rows: IntGauge,
    /// `portolan_table_hidden_rows`
    hidden: IntGauge,
    /// `portolan_table_changes_total`
    changes: IntCounter,
    /// `portolan_table_swaps_total`
    swaps: IntCounter,
    /// `portolan_table_build_seconds`
    build: Histogram,
}

// === impl BuilderHandle ===

impl BuilderHandle {
    /// Starts the task.
    ///
    /// # Errors
    ///
    /// If its metrics are registered already.
    pub(crate) fn spawn(
        builder: Builder,
        registry: &Registry,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> prometheus::Result<Self> {
        let (batches, batches_in) = mpsc::channel(BATCHES);
        let (orders, orders_in) = mpsc::channel(ORDERS);
        let task = BuilderTask {
            builder,
            batches: batches_in,
            orders: orders_in,
            families: Families::register(registry)?,
            unpublished: Vec::new(),
            applied: false,
            retired: false,
        };
        tasks.spawn(task.run(stop));
        Ok(Self { batches, orders })
    }

    /// Where sources send their changes.
    pub(crate) fn batches(&self) -> mpsc::Sender<Batch> {
        self.batches.clone()
    }

    /// Adds a layer; once this returns, changes to it count.
    pub(crate) async fn add_layer(&self, layer: LayerId, options: LayerOptions) {
        self.order(Order::Add(layer, options)).await;
    }

    /// Removes a layer.
    pub(crate) async fn remove_layer(&self, layer: LayerId) {
        self.order(Order::Remove(layer)).await;
    }

    /// Waits until the task has ended, which it does not do by itself.
    pub(crate) async fn ended(&self) {
        self.orders.closed().await;
    }

    /// Gives an order and waits until it is carried out. After the task has
    /// ended there is nothing to wait for.
    async fn order(&self, order: Order) {
        let (done, waiting) = oneshot::channel();
        if self.orders.send((order, done)).await.is_ok() {
            drop(waiting.await);
        }
    }
}

// === impl BuilderTask ===

impl BuilderTask {
    /// Applies changes until told to stop.
    async fn run(mut self, stop: CancellationToken) {
        let mut quiet_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some((order, done)) = self.orders.recv() => {
                    self.carry_out(order);
                    // Nobody may be waiting any more.
                    let _ = done.send(());
                }
                Some(batch) = self.batches.recv() => {
                    self.apply(batch);
                    if Instant::now() >= quiet_at {
                        self.publish();
                        quiet_at = Instant::now() + COALESCE;
                    }
                }
                () = tokio::time::sleep_until(quiet_at), if self.applied => {
                    self.publish();
                    quiet_at = Instant::now() + COALESCE;
                }
                () = tokio::time::sleep_until(quiet_at + RECLAIM), if self.retired => {
                    self.builder.reclaim();
                    self.retired = false;
                }
            }
        }
    }

    /// Carries out one order.
    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Add(layer, options) => self.builder.add_layer(layer, options),
            Order::Remove(layer) => {
                self.builder.remove_layer(layer);
                self.publish();
            }
        }
    }

    /// Applies a batch.
    fn apply(&mut self, batch: Batch) {
        for change in batch.changes {
            self.families.changes.inc();
            self.builder.apply(change);
        }
        self.unpublished.extend(batch.published);
        self.applied = true;
    }

    /// Makes what was applied visible.
    fn publish(&mut self) {
        self.applied = false;
        let timer = self.families.build.start_timer();
        if self.builder.publish() {
            timer.observe_duration();
            self.retired = true;
            self.families.swaps.inc();
            self.families.count(&self.builder);
        } else {
            timer.stop_and_discard();
        }
        for published in self.unpublished.drain(..) {
            published();
        }
    }
}

// === impl Families ===

impl Families {
    /// Registers the families.
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let families = Self {
            names: IntGauge::new("portolan_table_names", "Names in the record table.")?,
            rows: IntGauge::new("portolan_table_rows", "Rows that sources assert.")?,
            hidden: IntGauge::new(
                "portolan_table_hidden_rows",
                "Rows that conflict with others or exceed the bound of an RRset.",
            )?,
            changes: IntCounter::new(
                "portolan_table_changes_total",
                "Changes of sources that were applied.",
            )?,
            swaps: IntCounter::new("portolan_table_swaps_total", "Snapshots published.")?,
            build: Histogram::with_opts(
                HistogramOpts::new(
                    "portolan_table_build_seconds",
                    "Time to build and publish a snapshot.",
                )
                .buckets(prometheus::exponential_buckets(0.000_01, 4.0, 10)?),
            )?,
        };
        registry.register(Box::new(families.names.clone()))?;
        registry.register(Box::new(families.rows.clone()))?;
        registry.register(Box::new(families.hidden.clone()))?;
        registry.register(Box::new(families.changes.clone()))?;
        registry.register(Box::new(families.swaps.clone()))?;
        registry.register(Box::new(families.build.clone()))?;
        Ok(families)
    }

    /// Notes how large the table is.
    fn count(&self, builder: &Builder) {
        let figure = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let figures = builder.figures();
        self.names.set(figure(figures.names));
        self.rows.set(figure(figures.rows));
        self.hidden.set(figure(figures.hidden));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use portolan_table::{Change, Row, Source, Table};

    use super::*;

    /// A builder at work, its table, and what ends it.
    fn start() -> (BuilderHandle, Arc<Table>, CancellationToken) {
        let table = Arc::new(Table::new());
        let builder = Builder::new(Arc::clone(&table));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let handle = BuilderHandle::spawn(builder, &Registry::new(), &tasks, stop.clone());
        (handle.unwrap(), table, stop)
    }

    /// A batch of one name in a layer; `published` counts.
    fn batch(layer: LayerId, owner: &str, published: &Arc<AtomicUsize>) -> Batch {
        let row = Row {
            owner: owner.parse().unwrap(),
            rdata: portolan_proto::Rdata::A([192, 0, 2, 1].into()),
            ttl: 60,
        };
        let published = Arc::clone(published);
        Batch {
            changes: vec![Change {
                layer,
                source: Source::HostsFile(owner.into()),
                rows: vec![row],
            }],
            published: Some(Box::new(move || {
                published.fetch_add(1, Ordering::Relaxed);
            })),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_change_is_served_at_once_and_the_next_ones_together() {
        let (handle, table, _stop) = start();
        handle.add_layer(LayerId(0), LayerOptions::default()).await;
        let published = Arc::new(AtomicUsize::new(0));
        let before = table.load().serial();
        for owner in ["a.test", "b.test", "c.test"] {
            let batch = batch(LayerId(0), owner, &published);
            handle.batches().send(batch).await.unwrap();
        }
        tokio::time::sleep(COALESCE / 2).await;
        assert_eq!(published.load(Ordering::Relaxed), 1);
        tokio::time::sleep(COALESCE).await;
        assert_eq!(published.load(Ordering::Relaxed), 3);
        assert_eq!(table.load().serial(), before + 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_removed_layer_still_has_to_say_is_dropped() {
        let (handle, table, _stop) = start();
        let published = Arc::new(AtomicUsize::new(0));
        handle.add_layer(LayerId(0), LayerOptions::default()).await;
        let late = batch(LayerId(0), "a.test", &published);
        handle.remove_layer(LayerId(0)).await;
        let before = table.load().serial();
        handle.batches().send(late).await.unwrap();
        tokio::time::sleep(COALESCE * 2).await;
        // Whoever waits for it is told all the same.
        assert_eq!(published.load(Ordering::Relaxed), 1);
        assert_eq!(table.load().serial(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_task_is_told_and_holds_nobody_up() {
        let (handle, _table, stop) = start();
        let early = tokio::time::timeout(Duration::from_secs(60), handle.ended()).await;
        assert!(early.is_err(), "it ended by itself");
        stop.cancel();
        handle.ended().await;
        handle.remove_layer(LayerId(0)).await;
    }
}
