//! Finds out whether upstreams ask this server what it asks them.
//!
//! A question that goes round waits for itself: it comes back while it is
//! being asked, and [`crate::flight`] has it wait for the answer that it is
//! to bring. So do many clients with one question. To tell the one from the
//! other, a name nobody can guess, just below the one in question, is asked
//! for; if that comes back too, there is a loop.
//!
//! That is a query more to the upstreams, so it waits for a while that
//! depends on who asks: nobody but this server sends from its own sockets,
//! few ask what they are just being asked, and of all others most are clients.
//!
//! The names are those of one resolver: a block that forwards to another
//! block of the same server does not go round.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portolan_proto::MAX_NAME;
use portolan_proto::Name;
use portolan_proto::Qname;
use tokio::sync::Notify;

/// How long a question is asked before it is looked into that an upstream
/// asks the same.
pub(crate) const SUSPICIOUS: Duration = Duration::from_millis(250);

/// How long before it is looked into that anybody asks the same: a loop
/// through a server with many addresses looks like that. Few answers take as
/// long, and there is enough time left for the name to come back.
pub(crate) const UNSUSPICIOUS: Duration = Duration::from_millis(1500);

/// How long the name that nobody can guess may be on its way: about as long
/// as the question itself still has.
pub(crate) const RETURN: Duration = Duration::from_millis(2500);

/// How long upstreams have to answer for it while another one sends it back.
pub(crate) const OTHERS: Duration = Duration::from_millis(1000);

/// Most questions that are looked into at once, in the whole process.
pub(crate) const MAX_LOOKS: usize = 16;

/// The names that were sent out and should not come back. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loops {
    /// The names.
    inner: Arc<Inner>,
}

/// What clones share.
#[derive(Debug, Default)]
struct Inner {
    /// How many names there are: mostly none, and then nobody takes the lock.
    count: AtomicUsize,
    /// The names.
    sent: Mutex<Sent>,
}

/// Who asks, as far as that tells a question that has gone round.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Where the query came from.
    pub client: SocketAddr,
    /// The address it was sent to.
    pub local: IpAddr,
}

/// By name in wire form, who waits for it.
type Sent = HashMap<Box<[u8]>, Arc<Notify>>;

/// A name that was sent out, for as long as it lives.
pub(crate) struct Marker {
    /// Where it is noted.
    loops: Loops,
    /// The name.
    pub(crate) name: Name,
    /// Rung when it comes back.
    pub(crate) returned: Arc<Notify>,
}

// === impl Loops ===

impl Loops {
    /// Makes up a name just below another, or beside it where that is too
    /// long, and waits for it.
    pub(crate) fn mark(&self, qname: &Qname, chance: u128) -> Option<Marker> {
        let name = below(qname.as_wire(), chance)?;
        let returned = Arc::new(Notify::new());
        self.inner.count.fetch_add(1, Ordering::Release);
        self.lock()
            .insert(name.as_wire().into(), Arc::clone(&returned));
        Some(Marker {
            loops: self.clone(),
            name,
            returned,
        })
    }

    /// Whether a question is for a name that was sent out.
    pub(crate) fn has_returned(&self, qname: &Qname) -> bool {
        if self.inner.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let sent = self.lock();
        let marker = sent.get(qname.as_wire());
        if let Some(returned) = marker {
            returned.notify_one();
        }
        marker.is_some()
    }

    /// The names.
    fn lock(&self) -> MutexGuard<'_, Sent> {
        self.inner
            .sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Asker ===

impl Asker {
    /// Where it asks from, if that is not where it asks: what runs on this
    /// host has one address with this server, and is mostly a client.
    pub(crate) fn elsewhere(&self) -> Option<IpAddr> {
        let client = self.client.ip().to_canonical();
        (client != self.local.to_canonical()).then_some(client)
    }
}

// === impl Marker ===

impl Drop for Marker {
    fn drop(&mut self) {
        self.loops.lock().remove(self.name.as_wire());
        self.loops.inner.count.fetch_sub(1, Ordering::Release);
    }
}

/// A label that nobody can guess, before as much of a name as there is room
/// for.
fn below(mut wire: &[u8], chance: u128) -> Option<Name> {
    let mut label = String::new();
    write!(label, "{chance:032x}").ok()?;
    while wire.len() + label.len() + 1 > MAX_NAME {
        let (length, rest) = wire.split_first()?;
        wire = rest.get(usize::from(*length)..)?;
    }
    let mut octets = vec![u8::try_from(label.len()).ok()?];
    octets.extend_from_slice(label.as_bytes());
    octets.extend_from_slice(wire);
    Name::from_wire(&octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_for_as_long_as_its_marker_lives() {
        let loops = Loops::default();
        let marker = loops.mark(&qname("app.example.org"), 7).unwrap();
        assert_eq!(
            marker.name.to_string(),
            "00000000000000000000000000000007.app.example.org."
        );
        let name = Qname::from(&marker.name);
        assert!(loops.has_returned(&name));
        assert!(!loops.has_returned(&qname("app.example.org")));
        drop(marker);
        assert!(!loops.has_returned(&name));
    }

    #[test]
    fn a_long_name_makes_room() {
        let long = format!("{}.example", vec!["a".repeat(60); 4].join("."));
        let name = below(qname(&long).as_wire(), u128::MAX).unwrap();
        assert!(name.as_wire().len() <= MAX_NAME);
        assert!(name.to_string().ends_with(".example."));
    }

    /// A name that is asked for.
    fn qname(name: &str) -> Qname {
        Qname::from(&name.parse::<Name>().unwrap())
    }
}
