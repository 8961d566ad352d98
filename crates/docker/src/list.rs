//! The answer to `/containers/json`.
//!
//! There may be thousands of containers, each with dozens of labels and
//! addresses that are nothing to us. So the answer stays as it came, in one
//! piece, and is read container by container: of each no more is there than is
//! looked at, and nothing is left between what is kept.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::Deserializer as _;
use serde::de::SeqAccess;
use serde::de::Visitor;

use crate::client::plain;
use crate::model::Health;
use crate::model::Labels;
use crate::model::Observed;

/// The containers that an engine has, as it wrote them.
#[derive(Clone, Debug)]
pub(crate) struct List(Vec<u8>);

/// One container, as far as it matters. What an engine leaves out or has no
/// value for is as good as nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Summary {
    /// Its id.
    id: Option<String>,
    /// Its names.
    names: Option<Vec<String>>,
    /// Its labels.
    labels: Option<Labels>,
    /// Its state, in one word.
    state: Option<String>,
    /// Its state, in words for people.
    status: Option<String>,
}

/// Reads one container after the other.
struct Each<F>(F);

// === impl List ===

impl List {
    /// Takes an answer over.
    ///
    /// # Errors
    ///
    /// If it is no list of containers.
    pub(crate) fn new(answer: Vec<u8>) -> Result<Self, serde_json::Error> {
        let list = Self(answer);
        list.read(|_| ())?;
        Ok(list)
    }

    /// Shows the containers that run, paused ones among them, one by one.
    pub(crate) fn for_each_running(&self, mut show: impl FnMut(&Observed)) {
        let read = self.read(|summary| {
            if let Some(observed) = summary.observed().filter(|observed| observed.running) {
                show(&observed);
            }
        });
        debug_assert!(read.is_ok(), "it has been read before: {read:?}");
    }

    /// Reads it from beginning to end.
    fn read(&self, take: impl FnMut(Summary)) -> Result<(), serde_json::Error> {
        let mut json = serde_json::Deserializer::from_slice(&self.0);
        json.deserialize_seq(Each(take))?;
        json.end()
    }
}

// === impl Each ===

impl<'de, F: FnMut(Summary)> Visitor<'de> for Each<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of containers")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(summary) = list.next_element()? {
            (self.0)(summary);
        }
        Ok(())
    }
}

// === impl Summary ===

impl Summary {
    /// The container in our own words; without an id there is none.
    fn observed(self) -> Option<Observed> {
        let id = self.id.filter(|id| !id.is_empty())?;
        let names = self.names.unwrap_or_default();
        // A container that others link to has more than one name; its own is
        // the one without a second slash.
        let is_own = |name: &&String| !name.trim_start_matches('/').contains('/');
        let name = names.iter().find(is_own).or_else(|| names.first());
        let is_running = |state: &str| matches!(state, "running" | "paused" | "stopping" | "");
        Some(Observed {
            id: Arc::from(id),
            name: name.map(|name| plain(name)).unwrap_or_default(),
            labels: self.labels.unwrap_or_default(),
            running: self.state.as_deref().is_none_or(is_running),
            health: Health::from_status_text(self.status.as_deref().unwrap_or_default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_that_run_are_shown_as_they_are_listed() {
        let list = r#"[
            {"Id": "c1", "Names": ["/web"], "State": "running", "Status": "Up 1 second (healthy)",
             "Labels": {"a": "b"}, "Ports": [{"PrivatePort": 80}], "SizeRw": null},
            {"Id": "c2", "Names": ["/job"], "State": "restarting"},
            {"Id": "c3", "Names": ["/ice"], "State": "paused", "Labels": null},
            {"Id": "c4"},
            {"Id": "", "State": "running"},
            {}
        ]"#;
        let mut shown = Vec::new();
        List::new(list.into())
            .unwrap()
            .for_each_running(|observed| {
                let Observed {
                    id,
                    name,
                    labels,
                    health,
                    ..
                } = observed.clone();
                shown.push((id.to_string(), name, labels.len(), health));
            });
        let expected = [
            ("c1", "web", 1, Health::Healthy),
            ("c3", "ice", 0, Health::Unknown),
            ("c4", "", 0, Health::Unknown),
        ];
        let expected = expected
            .map(|(id, name, labels, health)| (id.to_owned(), name.to_owned(), labels, health));
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_linked_container_goes_by_its_own_name() {
        let list = r#"[{"Id": "c1", "Names": ["/other/alias", "/web"]}]"#;
        let mut names = Vec::new();
        let list = List::new(list.into()).unwrap();
        list.for_each_running(|observed| names.push(observed.name.clone()));
        assert_eq!(names, ["web"]);
    }

    #[test]
    fn an_answer_that_is_wrong_anywhere_is_refused_as_a_whole() {
        for answer in [
            "",
            "{}",
            r#"[{"Id": "c1"}"#,
            r#"[{"Id": "c1"}, 7]"#,
            r#"[{"Id": "c1"}, {"Id": 7}]"#,
            r#"[{"Id": "c1", "Labels": {"a": 7}}]"#,
            r#"[{"Id": "c1"}] []"#,
        ] {
            assert!(List::new(answer.into()).is_err(), "{answer}");
        }
        assert!(List::new("[]".into()).is_ok());
    }
}
