//! Idle connections to one upstream.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

/// Most idle connections to one upstream, whatever the settings say.
pub(crate) const MAX_IDLE: usize = 512;

/// Connections that wait for the next query, the one used last in front.
#[derive(Debug)]
pub(crate) struct Pool<C> {
    /// The connections, oldest first.
    idle: Mutex<VecDeque<Idle<C>>>,
    /// Bounds.
    limits: Limits,
}

/// Bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long a connection may be idle.
    pub(crate) expire: Duration,
    /// How long a connection may live.
    pub(crate) max_age: Option<Duration>,
    /// How many connections may be idle; 0 means [`MAX_IDLE`].
    pub(crate) max_idle: usize,
}

/// A connection and its times.
#[derive(Debug)]
pub(crate) struct Idle<C> {
    /// The connection.
    pub(crate) connection: C,
    /// When it was opened.
    opened: Instant,
    /// When it was last used.
    used: Instant,
}

// === impl Pool ===

impl<C> Pool<C> {
    /// A pool without connections.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            idle: Mutex::default(),
            limits,
        }
    }

    /// Takes the connection that was used last, so that the surplus expires.
    pub(crate) fn take(&self, now: Instant) -> Option<Idle<C>> {
        let mut idle = self.lock();
        while let Some(candidate) = idle.pop_back() {
            if self.limits.allow(&candidate, now) {
                return Some(candidate);
            }
        }
        None
    }

    /// Keeps a new connection for the next query.
    pub(crate) fn put(&self, connection: C, opened: Instant, now: Instant) {
        let idle = Idle {
            connection,
            opened,
            used: now,
        };
        self.put_back(idle, now);
    }

    /// Keeps a connection that came from the pool. The one idle for longest
    /// makes room.
    pub(crate) fn put_back(&self, mut connection: Idle<C>, now: Instant) {
        connection.used = now;
        if !self.limits.allow(&connection, now) {
            return;
        }
        let mut idle = self.lock();
        idle.push_back(connection);
        while idle.len() > self.limits.max_idle() {
            idle.pop_front();
        }
    }

    /// Drops the connections that are past their time.
    pub(crate) fn sweep(&self, now: Instant) {
        self.lock()
            .retain(|connection| self.limits.allow(connection, now));
    }

    /// The connections.
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Idle<C>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Limits ===

impl Limits {
    /// Whether a connection may still be used.
    fn allow<C>(&self, idle: &Idle<C>, now: Instant) -> bool {
        now.saturating_duration_since(idle.used) < self.expire
            && self
                .max_age
                .is_none_or(|age| now.saturating_duration_since(idle.opened) < age)
    }

    /// How many connections may be idle.
    fn max_idle(&self) -> usize {
        match self.max_idle {
            0 => MAX_IDLE,
            bound => bound.min(MAX_IDLE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_used_last_is_taken_first() {
        let (pool, now) = pool(None, 0);
        pool.put('a', now, now);
        pool.put('b', now, now);
        assert_eq!(pool.take(now).unwrap().connection, 'b');
        assert_eq!(pool.take(now).unwrap().connection, 'a');
        assert!(pool.take(now).is_none());
    }

    #[test]
    fn an_idle_connection_expires() {
        let (pool, now) = pool(None, 0);
        pool.put('a', now, now);
        assert!(pool.take(now + Duration::from_secs(10)).is_none());
    }

    #[test]
    fn max_age_ends_a_connection_that_is_in_use_all_the_time() {
        let (pool, now) = pool(Some(Duration::from_secs(15)), 0);
        pool.put('a', now, now);
        let later = now + Duration::from_secs(9);
        let idle = pool.take(later).unwrap();
        pool.put_back(idle, later);
        assert!(pool.take(now + Duration::from_secs(15)).is_none());
    }

    #[test]
    fn the_oldest_idle_connection_makes_room() {
        let (pool, now) = pool(None, 2);
        for connection in ['a', 'b', 'c'] {
            pool.put(connection, now, now);
        }
        assert_eq!(pool.take(now).unwrap().connection, 'c');
        assert_eq!(pool.take(now).unwrap().connection, 'b');
        assert!(pool.take(now).is_none());
    }

    #[test]
    fn a_pool_without_a_bound_has_one() {
        let (pool, now) = pool(None, 0);
        for _ in 0..2 * MAX_IDLE {
            pool.put('a', now, now);
        }
        assert_eq!(pool.lock().len(), MAX_IDLE);
    }

    #[test]
    fn sweeping_drops_what_expired_and_keeps_the_rest() {
        let (pool, now) = pool(None, 0);
        pool.put('a', now, now);
        pool.put('b', now, now + Duration::from_secs(5));
        pool.sweep(now + Duration::from_secs(12));
        assert_eq!(pool.lock().len(), 1);
    }

    /// A pool that expires after 10 s, and a time.
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn pool(max_age: Option<Duration>, max_idle: usize) -> (Pool<char>, Instant) {
        let limits = Limits {
            expire: Duration::from_secs(10),
            max_age,
            max_idle,
        };
        (Pool::new(limits), Instant::now())
    }
}
