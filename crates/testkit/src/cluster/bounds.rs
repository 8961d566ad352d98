//! What may be answered while things change.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use hickory_proto::op::ResponseCode;

use super::Truth;
use crate::client::Answer;

/// What has to be answered and what may be, for loads that go on while the
/// truth changes; clones are the same bounds.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// At least, and at most.
    limits: Arc<Mutex<(Truth, Truth)>>,
}

// === impl Bounds ===

impl Bounds {
    /// Exactly the truth.
    pub fn exactly(truth: Truth) -> Self {
        Self {
            limits: Arc::new(Mutex::new((truth.clone(), truth))),
        }
    }

    /// From now on, every address of `least` and none that is not of `most`.
    pub fn set(&self, least: Truth, most: Truth) {
        *self.limits() = (least, most);
    }

    /// Judges an answer.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self, name: &str, answer: &Answer) -> Result<(), String> {
        let limits = self.limits();
        let (least, most) = (limits.0.addresses(name), limits.1.addresses(name));
        drop(limits);
        let given: BTreeSet<Ipv4Addr> = answer.addresses.iter().filter_map(ipv4).collect();
        let expected = if given.is_empty() {
            ResponseCode::NXDomain
        } else {
            ResponseCode::NoError
        };
        if answer.rcode == expected && least.is_subset(&given) && given.is_subset(&most) {
            return Ok(());
        }
        Err(format!(
            "{} {given:?}, not {least:?} to {most:?}",
            answer.rcode
        ))
    }

    /// At least, and at most.
    fn limits(&self) -> MutexGuard<'_, (Truth, Truth)> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An IPv4 address, if it is one.
fn ipv4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Judges an answer about `n` with these last octets of addresses.
    fn check(bounds: &Bounds, rcode: ResponseCode, octets: &[u8]) -> bool {
        let address = |octet: &u8| IpAddr::from([192, 0, 2, *octet]);
        let answer = Answer {
            rcode,
            addresses: octets.iter().map(address).collect(),
            latency: Duration::ZERO,
        };
        bounds.check("n", &answer).is_ok()
    }

    /// A truth in which `n` has these last octets of addresses.
    fn truth(octets: &[u8]) -> Truth {
        let mut truth = Truth::default();
        truth.forget("n");
        for octet in octets {
            truth.add("n", Ipv4Addr::new(192, 0, 2, *octet));
        }
        truth
    }

    #[test]
    fn what_must_and_what_may_be_answered_differ() {
        let bounds = Bounds::exactly(truth(&[1, 2]));
        assert!(check(&bounds, ResponseCode::NoError, &[2, 1]));
        assert!(!check(&bounds, ResponseCode::NoError, &[1]));
        bounds.set(truth(&[1]), truth(&[1, 2]));
        assert!(check(&bounds, ResponseCode::NoError, &[1]));
        assert!(!check(&bounds, ResponseCode::NoError, &[2]));
        assert!(!check(&bounds, ResponseCode::NoError, &[1, 3]));
        assert!(!check(&bounds, ResponseCode::ServFail, &[]));
        bounds.set(truth(&[]), truth(&[1]));
        assert!(check(&bounds, ResponseCode::NXDomain, &[]));
        assert!(!check(&bounds, ResponseCode::NoError, &[]));
    }
}
