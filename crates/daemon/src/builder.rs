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
