//! What a host does not hear, in the words of `iptables-restore`.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// The whole filter of a host that hears nothing from some others, and loses a
/// share of what comes.
///
/// All of it is dropped where it arrives: whoever sends notices nothing, as on
/// a real network.
pub(super) fn rules(deaf_to: &[Ipv4Addr], loss: f64) -> String {
    let mut rules =
        String::from("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n");
    for source in deaf_to {
        let _ = writeln!(rules, "-A INPUT -s {source}/32 -j DROP");
    }
    if loss > 0.0 {
        let _ = writeln!(
            rules,
            "-A INPUT ! -i lo -m statistic --mode random --probability {loss:.6} -j DROP"
        );
    }
    rules.push_str("COMMIT\n");
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_hears_everything_has_no_rules() {
        assert!(!rules(&[], 0.0).contains("-A"));
    }

    #[test]
    fn what_is_not_heard_is_dropped_on_arrival() {
        let rules = rules(&[Ipv4Addr::new(192, 0, 2, 1)], 0.02);
        assert!(rules.contains("-A INPUT -s 192.0.2.1/32 -j DROP\n"));
        assert!(rules.contains("--probability 0.020000 -j DROP\n"));
        assert!(!rules.contains("-A OUTPUT"));
    }
}
