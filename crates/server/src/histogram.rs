//! Histograms of whole numbers: octets, nanoseconds.
//!
//! Nothing is converted and no bound is searched for in the way of a query: a
//! worker counts into a [`Share`] of its own, which is added to the
//! [`Histogram`] once a batch. What is exposed is a family of prometheus like
//! any other.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use prometheus::Opts;
use prometheus::core::Describer as _;
use prometheus::core::Metric;
use prometheus::core::MetricVec;
use prometheus::core::MetricVecBuilder;
use prometheus::proto;

/// What is measured, and how finely.
#[derive(Debug)]
pub(crate) struct Scale {
    /// Upper bounds of the buckets, in order, [`MOST`] at most; there is one
    /// more for all above.
    pub(crate) bounds: &'static [u64],
    /// How many of these are one of the unit that is exposed.
    pub(crate) per_unit: f64,
}

/// A histogram that several threads add to.
#[derive(Clone, Debug)]
pub(crate) struct Histogram(Arc<Inner>);

/// What clones of a histogram share.
#[derive(Debug)]
struct Inner {
    /// Its scale.
    scale: &'static Scale,
    /// Its labels.
    labels: Vec<proto::LabelPair>,
    /// How many values are in each bucket.
    counts: [AtomicU64; MOST + 1],
    /// All values together.
    sum: AtomicU64,
}

/// Histograms by the values of their labels.
pub(crate) type HistogramVec = MetricVec<Builder>;

/// Makes the histograms of a family.
#[derive(Clone, Debug)]
pub(crate) struct Builder(&'static Scale);

/// What one thread has counted and not yet added.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// The scale of the histogram.
    scale: &'static Scale,
    /// How many values are in each bucket.
    counts: [u64; MOST + 1],
    /// All values together.
    sum: u64,
}

/// Most bounds that a scale has.
const MOST: usize = 16;

// === impl Scale ===

impl Scale {
    /// The bucket of a value. Most values are in the first ones.
    #[inline]
    fn bucket(&self, value: u64) -> usize {
        let bounds = self.bounds;
        bounds
            .iter()
            .position(|bound| value <= *bound)
            .unwrap_or(bounds.len())
    }

    /// A value in the unit that is exposed.
    #[expect(clippy::cast_precision_loss, reason = "prometheus counts in floats")]
    fn exposed(&self, value: u64) -> f64 {
        value as f64 / self.per_unit
    }
}

// === impl Histogram ===

impl Histogram {
    /// Counts a value.
    pub(crate) fn observe(&self, value: u64) {
        self.add(self.0.scale.bucket(value), 1, value);
    }

    /// Nothing yet, to be counted by one thread.
    pub(crate) fn share(&self) -> Share {
        Share {
            scale: self.0.scale,
            counts: [0; MOST + 1],
            sum: 0,
        }
    }

    /// Adds values of one bucket.
    fn add(&self, bucket: usize, count: u64, sum: u64) {
        if let Some(counter) = self.0.counts.get(bucket) {
            counter.fetch_add(count, Ordering::Relaxed);
            self.0.sum.fetch_add(sum, Ordering::Relaxed);
        }
    }
}

impl Metric for Histogram {
    fn metric(&self) -> proto::Metric {
        let Inner { scale, counts, .. } = &*self.0;
        let mut so_far = 0;
        let mut below = |counter: &AtomicU64| {
            so_far += counter.load(Ordering::Relaxed);
            so_far
        };
        let bounded = scale.bounds.iter().zip(counts);
        let buckets = bounded.map(|(bound, counter)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(scale.exposed(*bound));
            bucket.set_cumulative_count(below(counter));
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        let above = counts.iter().skip(scale.bounds.len());
        histogram.set_sample_count(above.map(&mut below).last().unwrap_or_default());
        histogram.set_sample_sum(scale.exposed(self.0.sum.load(Ordering::Relaxed)));
        let mut metric = proto::Metric::from_label(self.0.labels.clone());
        metric.set_histogram(histogram);
        metric
    }
}

// === impl Builder ===

impl Builder {
    /// A family of histograms of one scale.
    pub(crate) fn family(scale: &'static Scale, opts: Opts) -> prometheus::Result<HistogramVec> {
        MetricVec::create(proto::MetricType::HISTOGRAM, Self(scale), opts)
    }
}

impl MetricVecBuilder for Builder {
    type M = Histogram;
    type P = Opts;

    fn build<V: AsRef<str>>(&self, opts: &Opts, values: &[V]) -> prometheus::Result<Histogram> {
        let names = opts.describe()?.variable_labels;
        let labels = names.into_iter().zip(values).map(|(name, value)| {
            let mut label = proto::LabelPair::default();
            label.set_name(name);
            label.set_value(value.as_ref().to_owned());
            label
        });
        let mut labels: Vec<_> = labels.collect();
        labels.sort_by(|left, right| left.name().cmp(right.name()));
        Ok(Histogram(Arc::new(Inner {
            scale: self.0,
            labels,
            counts: [const { AtomicU64::new(0) }; MOST + 1],
            sum: AtomicU64::new(0),
        })))
    }
}

// === impl Share ===

impl Share {
    /// Counts so many values that are equal.
    #[inline]
    pub(crate) fn observe(&mut self, value: u64, count: u64) {
        if let Some(counter) = self.counts.get_mut(self.scale.bucket(value)) {
            *counter += count;
            self.sum = self.sum.saturating_add(value.saturating_mul(count));
        }
    }

    /// Adds all that was counted to a histogram of the same scale.
    pub(crate) fn flush(&mut self, histogram: &Histogram) {
        let mut sum = std::mem::take(&mut self.sum);
        for (bucket, count) in self.counts.iter_mut().enumerate() {
            if *count > 0 {
                histogram.add(bucket, std::mem::take(count), std::mem::take(&mut sum));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Encoder as _;
    use prometheus::Registry;
    use prometheus::TextEncoder;

    use super::*;

    /// Tenths of something.
    static TENTHS: Scale = Scale {
        bounds: &[0, 5, 10],
        per_unit: 10.0,
    };

    #[test]
    fn what_is_exposed_is_what_prometheus_would_expose() {
        let values = [0_u32, 1, 5, 6, 10, 11, 10_000];
        let registry = Registry::new();
        let opts = prometheus::HistogramOpts::new("tenths", "Help.").buckets(vec![0.0, 0.5, 1.0]);
        let family = prometheus::HistogramVec::new(opts, &["b", "a"]).unwrap();
        registry.register(Box::new(family.clone())).unwrap();
        for value in values {
            let value = f64::from(value) / 10.0;
            family.with_label_values(&["x", "y"]).observe(value);
        }
        family.with_label_values(&["other", ""]);
        let expected = text(&registry);
        for is_shared in [false, true] {
            let registry = Registry::new();
            let opts =
                Opts::new("tenths", "Help.").variable_labels(vec!["b".to_owned(), "a".to_owned()]);
            let family = Builder::family(&TENTHS, opts).unwrap();
            registry.register(Box::new(family.clone())).unwrap();
            let histogram = family.with_label_values(&["x", "y"]);
            let mut share = histogram.share();
            for value in values.map(u64::from) {
                if is_shared {
                    share.observe(value, 1);
                } else {
                    histogram.observe(value);
                }
            }
            // The second time there is nothing to add.
            share.flush(&histogram);
            share.flush(&histogram);
            family.with_label_values(&["other", ""]);
            assert_eq!(text(&registry), expected, "{is_shared}");
        }
        assert!(expected.contains(r#"tenths_bucket{a="y",b="x",le="+Inf"} 7"#));
    }

    #[test]
    fn equal_values_are_counted_together() {
        let opts = Opts::new("tenths", "Help.");
        let family = Builder::family(&TENTHS, opts).unwrap();
        let histogram = family.with_label_values::<&str>(&[]);
        let mut share = histogram.share();
        share.observe(7, 3);
        share.observe(2, 4);
        share.flush(&histogram);
        let metric = histogram.metric();
        let shown = metric.get_histogram();
        assert_eq!(shown.get_sample_count(), 7);
        assert!((shown.get_sample_sum() - 2.9).abs() < 1e-9);
        let counts = shown.get_bucket().iter();
        let counts: Vec<u64> = counts.map(proto::Bucket::cumulative_count).collect();
        assert_eq!(counts, [0, 4, 7]);
    }

    /// What is exposed.
    fn text(registry: &Registry) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&registry.gather(), &mut text)
            .unwrap();
        String::from_utf8(text).unwrap()
    }
}
