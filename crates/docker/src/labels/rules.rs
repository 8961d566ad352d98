//! Labels that make routers of Traefik.

use crate::model::Labels;

/// Whether there is a rule that counts.
pub(super) fn are_there(labels: &Labels) -> bool {
    !is_off(labels) && labels.keys().any(|key| is_rule(key))
}

/// The rules of all routers, in the order of their labels; none if Traefik is
/// told to leave the container alone.
pub(super) fn rules(labels: &Labels) -> Vec<(&str, &str)> {
    if is_off(labels) {
        return Vec::new();
    }
    let mut rules: Vec<(&str, &str)> = labels
        .iter()
        .filter(|(key, _)| is_rule(key))
        .map(|(key, rule)| (key.as_str(), rule.as_str()))
        .collect();
    rules.sort_unstable();
    rules
}

/// Whether a label holds the rule of a router: `traefik.http.routers.R.rule`,
/// in any case.
fn is_rule(key: &str) -> bool {
    let parts: Vec<&str> = key.splitn(6, '.').collect();
    let [traefik, section, routers, router, rule] = parts.as_slice() else {
        return false;
    };
    traefik.eq_ignore_ascii_case("traefik")
        && SECTIONS
            .iter()
            .any(|known| section.eq_ignore_ascii_case(known))
        && routers.eq_ignore_ascii_case("routers")
        && !router.is_empty()
        && rule.eq_ignore_ascii_case("rule")
}

/// Whether a label keeps Traefik from the container.
fn is_off(labels: &Labels) -> bool {
    labels
        .iter()
        .any(|(key, value)| key.eq_ignore_ascii_case(ENABLE_LABEL) && FALSE.contains(&value.trim()))
}

/// The label that turns Traefik on or off.
const ENABLE_LABEL: &str = "traefik.enable";

/// The texts that Go reads as false.
const FALSE: [&str; 6] = ["0", "f", "F", "false", "False", "FALSE"];

/// Where routers are that know names.
const SECTIONS: [&str; 2] = ["http", "tcp"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_rules_are_told_from_others() {
        for (key, expected) in [
            ("traefik.http.routers.app.rule", true),
            ("traefik.tcp.routers.app.rule", true),
            ("Traefik.HTTP.Routers.app.Rule", true),
            ("traefik.udp.routers.app.rule", false),
            ("traefik.http.routers.rule", false),
            ("traefik.http.routers..rule", false),
            ("traefik.http.routers.a.b.rule", false),
            ("traefik.http.routers.app.rule.x", false),
            ("traefik.http.routers.app.rules", false),
            ("traefik.http.services.app.rule", false),
            ("traefik", false),
            ("", false),
        ] {
            assert_eq!(is_rule(key), expected, "{key}");
        }
    }

    #[test]
    fn only_a_plain_no_turns_rules_off() {
        for (key, value, expected) in [
            ("traefik.enable", "false", false),
            ("traefik.enable", " False ", false),
            ("Traefik.Enable", "0", false),
            ("traefik.enable", "true", true),
            ("traefik.enable", "", true),
            ("traefik.enable", "no", true),
            ("traefik.enabled", "false", true),
        ] {
            let labels = Labels::from([
                (
                    "traefik.http.routers.app.rule".to_owned(),
                    "Host(`a.example`)".to_owned(),
                ),
                (key.to_owned(), value.to_owned()),
            ]);
            assert_eq!(are_there(&labels), expected, "{key}={value}");
            assert_eq!(rules(&labels).len(), usize::from(expected), "{key}={value}");
        }
    }
}
