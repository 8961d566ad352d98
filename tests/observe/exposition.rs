//! The text format of Prometheus, read strictly.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use anyhow::Context as _;
use anyhow::bail;
use anyhow::ensure;

/// All families of a scrape, by name.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    /// The families.
    pub(super) families: BTreeMap<String, Family>,
}

/// A family of series.
#[derive(Debug, Default)]
pub(super) struct Family {
    /// Its type.
    pub(super) kind: String,
    /// Its series.
    pub(super) samples: Vec<Sample>,
}

/// One line of a scrape.
#[derive(Debug)]
pub(super) struct Sample {
    /// Its name, which for histograms has a suffix.
    pub(super) name: String,
    /// Its labels, in the order of the text.
    pub(super) labels: Vec<(String, String)>,
    /// Its value.
    pub(super) value: f64,
}

// === impl Exposition ===

impl Exposition {
    /// Reads a scrape.
    ///
    /// # Errors
    ///
    /// Whatever a strict reader would refuse.
    pub(super) fn read(text: &str) -> anyhow::Result<Self> {
        ensure!(text.ends_with('\n'), "the last line does not end");
        let mut exposition = Self::default();
        let mut seen = BTreeSet::new();
        let mut helped = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').with_context(|| line.to_owned())?;
                ensure!(!words.trim().is_empty(), "no help: {line}");
                let again = helped.insert(name.to_owned(), words.to_owned());
                ensure!(again.is_none(), "helped twice: {line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').with_context(|| line.to_owned())?;
                ensure!(helped.contains_key(name), "typed before helped: {line}");
                let family = Family {
                    kind: kind.to_owned(),
                    samples: Vec::new(),
                };
                let again = exposition.families.insert(name.to_owned(), family);
                ensure!(again.is_none(), "typed twice: {line}");
                name.clone_into(&mut current);
            } else {
                ensure!(
                    !line.starts_with('#') && !line.is_empty(),
                    "strange line: {line}"
                );
                let sample = Sample::read(line)?;
                let family = exposition.families.get_mut(&current).context("no type")?;
                ensure!(
                    sample.belongs_to(&current, &family.kind),
                    "{line} in {current}"
                );
                ensure!(
                    seen.insert((sample.name.clone(), sample.labels.clone())),
                    "twice: {line}"
                );
                family.samples.push(sample);
            }
        }
        Ok(exposition)
    }

    /// The sum of the series of a name that have all of these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.families.values().flat_map(|family| &family.samples);
        let wanted = samples.filter(|sample| sample.name == name && sample.has(labels));
        wanted.map(|sample| sample.value).sum()
    }

    /// The names of labels that the series of a family have.
    pub(super) fn labels_of(&self, family: &str) -> anyhow::Result<Vec<&str>> {
        let family = self
            .families
            .get(family)
            .with_context(|| format!("no {family}"))?;
        let sample = family.samples.first().context("no series")?;
        let names = sample.labels.iter().map(|(name, _)| name.as_str());
        Ok(names.filter(|name| *name != "le").collect())
    }

    /// The upper bounds of the first histogram of a family.
    pub(super) fn bounds_of(&self, family: &str) -> anyhow::Result<Vec<String>> {
        let family = self
            .families
            .get(family)
            .with_context(|| format!("no {family}"))?;
        let mut bounds = Vec::new();
        for sample in &family.samples {
            let Some(bound) = sample.label("le") else {
                break;
            };
            bounds.push(bound.to_owned());
        }
        Ok(bounds)
    }

    /// Fails unless names and values are as promlint and plain sense want.
    pub(super) fn ensure_sane(&self) -> anyhow::Result<()> {
        for (name, family) in &self.families {
            // Joyride's name for a gauge, which its dashboards have.
            let is_joyrides = name == "coredns_traefik_externals_records_total";
            let is_total = name.ends_with("_total") && !is_joyrides;
            match family.kind.as_str() {
                "counter" => ensure!(is_total, "counter {name} does not end in _total"),
                "gauge" => ensure!(!is_total, "gauge {name} ends in _total"),
                "histogram" => family.ensure_cumulative(name)?,
                kind => bail!("{name} is a {kind}"),
            }
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            ensure!(name.chars().all(is_plain), "{name}");
            let prefixes = ["coredns_", "portolan_", "process_"];
            ensure!(
                prefixes.iter().any(|prefix| name.starts_with(prefix)),
                "{name}"
            );
            for unit in ["_milliseconds", "_ms", "_kilobytes", "_kb", "_minutes"] {
                ensure!(!name.contains(unit), "{name} is not in base units");
            }
            for sample in &family.samples {
                ensure!(sample.value.is_finite(), "{sample:?}");
                ensure!(
                    family.kind != "counter" || sample.value >= 0.0,
                    "{sample:?}"
                );
                // The bound of a bucket comes last, as in Go.
                let others: Vec<_> = sample
                    .labels
                    .iter()
                    .filter(|(name, _)| name != "le")
                    .collect();
                ensure!(others.is_sorted(), "labels out of order: {sample:?}");
            }
        }
        Ok(())
    }
}

// === impl Family ===

impl Family {
    /// Fails unless the buckets of each histogram add up.
    fn ensure_cumulative(&self, name: &str) -> anyhow::Result<()> {
        let mut below = 0.0;
        let mut last = String::new();
        for sample in &self.samples {
            let suffix = sample.name.strip_prefix(name).unwrap_or_default();
            match suffix {
                "_bucket" => {
                    ensure!(sample.value >= below, "{sample:?} after {below}");
                    below = sample.value;
                    sample
                        .label("le")
                        .context("no bound")?
                        .clone_into(&mut last);
                }
                "_count" => {
                    ensure!(
                        last == "+Inf" && sample.value.total_cmp(&below).is_eq(),
                        "{sample:?}"
                    );
                    below = 0.0;
                }
                _ => ensure!(suffix == "_sum", "{sample:?}"),
            }
        }
        Ok(())
    }
}

// === impl Sample ===

impl Sample {
    /// Reads a line.
    fn read(line: &str) -> anyhow::Result<Self> {
        let (series, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
        let value = value.parse().with_context(|| line.to_owned())?;
        let Some((name, labels)) = series.split_once('{') else {
            return Ok(Self {
                name: series.to_owned(),
                labels: Vec::new(),
                value,
            });
        };
        let labels = labels.strip_suffix('}').with_context(|| line.to_owned())?;
        let labels = labels.split("\",").map(|label| {
            let (name, value) = label.split_once("=\"").with_context(|| line.to_owned())?;
            Ok((name.to_owned(), value.trim_end_matches('"').to_owned()))
        });
        let labels = labels.collect::<anyhow::Result<_>>()?;
        Ok(Self {
            name: name.to_owned(),
            labels,
            value,
        })
    }

    /// The value of a label.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether it has all of these labels.
    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.label(name) == Some(value))
    }

    /// Whether a line with this name may stand in a family.
    fn belongs_to(&self, family: &str, kind: &str) -> bool {
        let suffix = self.name.strip_prefix(family);
        match kind {
            "histogram" => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
            _ => suffix == Some(""),
        }
    }
}
