//! Questions over UDP: for names that are asked for once, and for names whose
//! upstreams say nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use crate::client::address;
use crate::client::datagrams_from;
use crate::client::receive;
use crate::question::Kind;
use crate::tally::Tally;

/// Clients that ask at a time.
const CLIENTS: u8 = 8;

/// Questions of one client that are under way.
const WINDOW: u32 = 32;

/// How long a question is waited for before it is asked again, and how often
/// it is asked. A datagram may be lost where sockets overflow.
const ATTEMPT: Duration = Duration::from_millis(1_500);
const ATTEMPTS: usize = 4;

/// How long a question is waited for that has no answer; the server gives up
/// after 3 s.
const SILENCE: Duration = Duration::from_secs(6);

/// Asks for names that nobody has asked for, from one number on.
pub(crate) fn once(server: SocketAddr, numbers: Range<u32>) -> anyhow::Result<Tally> {
    share(numbers, |client, numbers| {
        let mut tally = Tally::default();
        for start in numbers.clone().step_by(usize::try_from(WINDOW)?) {
            let end = (start + WINDOW).min(numbers.end);
            tally += window(server, client, start..end)?;
        }
        Ok(tally)
    })
}

/// Asks for names, all at a time, and again for those that are not answered.
fn window(server: SocketAddr, client: u8, numbers: Range<u32>) -> anyhow::Result<Tally> {
    let socket = datagrams_from(address(client), server, ATTEMPT / 10)?;
    let mut left: BTreeMap<u16, u32> = (0..).zip(numbers).collect();
    let mut tally = Tally::default();
    let mut buffer = [0; 512];
    for _ in 0..ATTEMPTS {
        for (&id, &number) in &left {
            socket.send(&Kind::Once.query(id, number))?;
        }
        let deadline = clock() + ATTEMPT;
        while !left.is_empty()
            && let Some((id, response)) =
                receive(&socket, &mut buffer, deadline, |id| left.contains_key(&id))
        {
            let number = left.remove(&id).context("an id that is wanted")?;
            tally.add(Kind::Once.judge(number, response));
        }
        if left.is_empty() {
            break;
        }
    }
    tally.lost += left.len();
    Ok(tally)
}

/// Asks for names whose upstreams say nothing, all at a time, and waits until
/// each has its SERVFAIL.
pub(crate) fn silent(server: SocketAddr, numbers: Range<u32>) -> anyhow::Result<Tally> {
    share(numbers, |client, numbers| {
        let socket = datagrams_from(address(client), server, Duration::from_millis(100))?;
        let asking = socket.try_clone()?;
        let mut left: BTreeMap<u16, u32> = (0..).zip(numbers).collect();
        let queries = left.iter();
        let queries: Vec<Vec<u8>> = queries
            .map(|(id, number)| Kind::Silent.query(*id, *number))
            .collect();
        thread::scope(|scope| {
            scope.spawn(move || {
                for (position, query) in queries.iter().enumerate() {
                    drop(asking.send(query));
                    // As many as sockets take.
                    if position % 32 == 31 {
                        pause(Duration::from_millis(4));
                    }
                }
            });
            let mut tally = Tally::default();
            let mut buffer = [0; 512];
            let deadline = clock() + SILENCE;
            while !left.is_empty()
                && let Some((id, response)) =
                    receive(&socket, &mut buffer, deadline, |id| left.contains_key(&id))
            {
                let number = left.remove(&id).context("an id that is wanted")?;
                tally.add(Kind::Silent.judge(number, response));
            }
            tally.lost += left.len();
            Ok(tally)
        })
    })
}

/// Gives every client its part of the numbers, and sums up.
fn share(
    numbers: Range<u32>,
    ask: impl Fn(u8, Range<u32>) -> anyhow::Result<Tally> + Sync,
) -> anyhow::Result<Tally> {
    let part = (numbers.end - numbers.start).div_ceil(u32::from(CLIENTS));
    let part_of = |client: u8| {
        let start = (numbers.start + u32::from(client) * part).min(numbers.end);
        start..(start + part).min(numbers.end)
    };
    thread::scope(|scope| {
        let ask = &ask;
        let threads: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let numbers = part_of(client);
                scope.spawn(move || ask(client + 1, numbers))
            })
            .collect();
        let mut tally = Tally::default();
        for thread in threads {
            tally += thread.join().ok().context("a client")??;
        }
        Ok(tally)
    })
}
