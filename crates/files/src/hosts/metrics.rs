//! What the hosts files count.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::SystemTime;

use prometheus::Gauge;
use prometheus::IntGauge;
use prometheus::IntGaugeVec;
use prometheus::Opts;
use prometheus::Registry;

/// Metric families of all `hosts` directives. Cloning is cheap, and the clones
/// count together.
#[derive(Clone, Debug)]
pub struct Families {
    /// Rows in effect by file.
    entries: IntGaugeVec,
    /// Lines left out by file.
    bad_lines: IntGaugeVec,
    /// Modification time of the file that was read last.
    reloaded: Gauge,
    /// How many directives count a file, by its path: the last one takes the
    /// series away.
    holders: Arc<Mutex<BTreeMap<Arc<str>, usize>>>,
}

/// The part of one directive in the gauges of one file. Several directives may
/// serve one file; the gauges hold the sum. Dropping takes the part away.
#[derive(Debug)]
pub(crate) struct FileGauges {
    /// The families, to leave them.
    families: Families,
    /// Path of the file.
    path: Arc<str>,
    /// Rows in effect.
    entries: Share,
    /// Lines left out.
    bad_lines: Share,
}

/// A part of the value of a gauge.
#[derive(Debug)]
struct Share {
    /// The gauge.
    gauge: IntGauge,
    /// The part.
    value: i64,
}

// === impl Families ===

impl Families {
    /// Creates the families and adds them to a registry.
    ///
    /// # Errors
    ///
    /// If the registry has a family of one of the names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let entries = IntGaugeVec::new(
            Opts::new(
                "coredns_hosts_entries",
                "The combined number of entries in hosts and Corefile.",
            ),
            &["hostsfile"],
        )?;
        let bad_lines = IntGaugeVec::new(
            Opts::new(
                "portolan_hosts_bad_lines",
                "Lines of a hosts file that were left out, wholly or in part.",
            ),
            &["hostsfile"],
        )?;
        let reloaded = Gauge::new(
            "coredns_hosts_reload_timestamp_seconds",
            "The timestamp of the last reload of hosts file.",
        )?;
        registry.register(Box::new(entries.clone()))?;
        registry.register(Box::new(bad_lines.clone()))?;
        registry.register(Box::new(reloaded.clone()))?;
        Ok(Self {
            entries,
            bad_lines,
            reloaded,
            holders: Arc::default(),
        })
    }

    /// A part in the gauges of a file, at zero.
    pub(crate) fn file(&self, path: Arc<str>) -> FileGauges {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        *holders.entry(Arc::clone(&path)).or_default() += 1;
        FileGauges {
            families: self.clone(),
            entries: Share::of(&self.entries, &path),
            bad_lines: Share::of(&self.bad_lines, &path),
            path,
        }
    }

    /// Takes note of the modification time of a file that was read.
    pub(crate) fn read(&self, modified: SystemTime) {
        if let Ok(age) = modified.duration_since(SystemTime::UNIX_EPOCH) {
            self.reloaded.set(age.as_secs_f64());
        }
    }
}

// === impl FileGauges ===

impl FileGauges {
    /// Takes the figures of the last read.
    pub(crate) fn set(&mut self, entries: usize, bad_lines: usize) {
        self.entries.set(entries);
        self.bad_lines.set(bad_lines);
    }
}

impl Drop for FileGauges {
    fn drop(&mut self) {
        self.set(0, 0);
        let holders = &self.families.holders;
        let mut holders = holders.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = holders.get_mut(&self.path) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            holders.remove(&self.path);
            for family in [&self.families.entries, &self.families.bad_lines] {
                // Only a series that is not there cannot be removed.
                let _ = family.remove_label_values(&[&*self.path]);
            }
        }
    }
}

// === impl Share ===

impl Share {
    /// A part of the gauge for a file, at zero.
    fn of(family: &IntGaugeVec, path: &str) -> Self {
        Self {
            gauge: family.with_label_values(&[path]),
            value: 0,
        }
    }

    /// Changes the part.
    fn set(&mut self, value: usize) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.gauge.add(value - self.value);
        self.value = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_with_the_same_file_add_up() {
        let registry = Registry::new();
        let families = Families::register(&registry).unwrap();
        let mut one = families.file("/etc/hosts".into());
        let mut two = families.file("/etc/hosts".into());
        one.set(10, 1);
        two.set(5, 0);
        one.set(7, 0);
        assert_eq!(entries(&registry), [12.0]);
        drop(one);
        assert_eq!(entries(&registry), [5.0]);
        drop(two);
        assert_eq!(entries(&registry), [0.0; 0]);
    }

    #[test]
    fn names_can_be_registered_once() {
        let registry = Registry::new();
        Families::register(&registry).unwrap();
        assert!(Families::register(&registry).is_err());
    }

    /// Values of `coredns_hosts_entries`.
    fn entries(registry: &Registry) -> Vec<f64> {
        registry
            .gather()
            .iter()
            .filter(|family| family.name() == "coredns_hosts_entries")
            .flat_map(|family| family.get_metric())
            .map(|metric| metric.get_gauge().get_value())
            .collect()
    }
}
