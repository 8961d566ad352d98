//! The metrics of the process, and their exposition to Prometheus.
//!
//! [`Metrics`] owns the one registry. The other parts of the server register
//! their families with [`Metrics::registry`]; the families registered here
//! describe the process itself. Names are CoreDNS's wherever it has the metric,
//! so that existing dashboards keep working, and begin with `portolan_`
//! otherwise.

mod process;
mod reading;

use prometheus::process_collector::ProcessCollector;
use prometheus::{IntCounter, IntGauge, Opts, TextEncoder};

use crate::log::DroppedLines;

use self::process::NetworkAndLimits;

pub use prometheus;
pub use prometheus::Registry;

pub use self::reading::Reading;

/// The registry with the families that describe the process.
///
/// Clones share the registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// All families of the process.
    registry: Registry,
    /// Panics caught anywhere in the process.
    panics: IntCounter,
}

/// What this build is, for the `_build_info` families.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildInfo {
    /// The server's own version.
    pub version: String,
    /// The source revision it was built from.
    pub revision: String,
    /// The compiler, as `rustc --version` prints it.
    pub compiler: String,
}

/// The version in `coredns_build_info`: the CoreDNS whose metrics we have.
///
/// Dashboards choose the names of metrics by this version (Netdata does above
/// 1.6.9), so it must be a CoreDNS version, not ours; ours is in
/// `portolan_build_info`.
pub const COREDNS_VERSION: &str = "1.14.7";

/// The content type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

// === impl Metrics ===

impl Metrics {
    /// Creates the registry and registers the families of the process.
    ///
    /// This fails only when two families have one name.
    pub fn new(build: &BuildInfo, dropped: DroppedLines) -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        registry.register(Box::new(NetworkAndLimits::new()?))?;
        register_build_info(&registry, build)?;
        let panics = IntCounter::new("coredns_panics_total", "Number of panics.")?;
        registry.register(Box::new(panics.clone()))?;
        registry.register(Box::new(Reading::counter(
            "portolan_log_lines_dropped_total",
            "Number of log lines dropped because standard output was slow or failed.",
            move || float(dropped.get()),
        )?))?;
        Ok(Self { registry, panics })
    }

    /// The registry, for the families of other parts.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The count of panics, for the panic hook.
    pub fn panics(&self) -> &IntCounter {
        &self.panics
    }

    /// All families in the text format of Prometheus, of type [`CONTENT_TYPE`].
    pub fn encode(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Registers the families that say what this build is.
fn register_build_info(registry: &Registry, build: &BuildInfo) -> prometheus::Result<()> {
    let coredns = Opts::new(
        "coredns_build_info",
        "A metric with a constant '1' value labeled by version, revision, and goversion from \
         which CoreDNS was built.",
    )
    .const_label("version", COREDNS_VERSION)
    .const_label("revision", &build.revision)
    .const_label("goversion", &build.compiler);
    let portolan = Opts::new(
        "portolan_build_info",
        "A metric with a constant '1' value labeled by the version and revision of this server.",
    )
    .const_label("version", &build.version)
    .const_label("revision", &build.revision);
    for opts in [coredns, portolan] {
        let gauge = IntGauge::with_opts(opts)?;
        gauge.set(1);
        registry.register(Box::new(gauge))?;
    }
    Ok(())
}

/// A count as a sample, exact up to 2^53.
fn float(count: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "the exposition knows floats alone"
    )]
    let sample = count as f64;
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_info_carries_both_versions() {
        let text = metrics().encode().expect("valid families");

        let coredns = "coredns_build_info{goversion=\"rustc 1.95.0\",revision=\"abc\",\
                       version=\"1.14.7\"} 1\n";
        assert!(text.contains(coredns), "{text}");
        assert!(text.contains("portolan_build_info{revision=\"abc\",version=\"0.1.0\"} 1\n"));
    }

    #[test]
    fn the_process_families_of_coredns_exist() {
        let text = metrics().encode().expect("valid families");

        for (name, kind) in [
            ("process_cpu_seconds_total", "counter"),
            ("process_resident_memory_bytes", "gauge"),
            ("process_virtual_memory_bytes", "gauge"),
            ("process_virtual_memory_max_bytes", "gauge"),
            ("process_open_fds", "gauge"),
            ("process_max_fds", "gauge"),
            ("process_start_time_seconds", "gauge"),
            ("process_network_receive_bytes_total", "counter"),
            ("process_network_transmit_bytes_total", "counter"),
        ] {
            assert!(
                text.contains(&format!("# TYPE {name} {kind}\n{name} ")),
                "{name} in {text}"
            );
        }
    }

    #[test]
    fn counters_exist_from_the_start_and_count() {
        let metrics = metrics();
        let before = metrics.encode().expect("valid families");
        metrics.panics().inc();
        let after = metrics.encode().expect("valid families");

        assert!(before.contains("\ncoredns_panics_total 0\n"), "{before}");
        assert!(
            before.contains("\nportolan_log_lines_dropped_total 0\n"),
            "{before}"
        );
        assert!(after.contains("\ncoredns_panics_total 1\n"), "{after}");
    }

    /// Metrics of some build.
    fn metrics() -> Metrics {
        let build = BuildInfo {
            version: "0.1.0".to_owned(),
            revision: "abc".to_owned(),
            compiler: "rustc 1.95.0".to_owned(),
        };
        Metrics::new(&build, DroppedLines::default()).expect("no two families with one name")
    }
}
