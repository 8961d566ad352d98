//! One query and its response on a line: TCP, or TLS over it.
//!
//! A connection that the upstream has closed meanwhile costs another attempt
//! on another one, not the query.

use portolan_proto::Message;
use portolan_proto::Rcode;
use tokio::time::Instant;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Question;
use crate::dial::Dialer;
use crate::error::Cause;
use crate::error::ExchangeError;
use crate::error::Fault;
use crate::error::Step;
use crate::line::Line;
use crate::lines::Chosen;
use crate::lines::Lines;
use crate::question::Hop;
use crate::question::is_header_error;
use crate::question::response_rcode;
use crate::udp::UDP_PAYLOAD;
use crate::udp::lacks_edns;

/// Times that a query is given to another line because its own was closed.
const MAX_LINES_LOST: u32 = 2;

/// How one upstream is asked over lines.
#[derive(Debug)]
pub(crate) struct Streamed {
    /// Makes connections.
    dialer: Dialer,
    /// The lines there are.
    lines: Lines,
    /// Where lines run.
    tracker: TaskTracker,
    /// Ends lines.
    token: CancellationToken,
}

/// A response and whether it came over a connection that was there.
pub(crate) struct Exchanged {
    /// The response.
    pub(crate) message: Message,
    /// Whether the connection was there already.
    pub(crate) reused: bool,
}

// === impl Streamed ===

impl Streamed {
    /// Nothing is connected yet.
    pub(crate) fn new(
        dialer: Dialer,
        lines: Lines,
        tracker: TaskTracker,
        token: CancellationToken,
    ) -> Self {
        Self {
            dialer,
            lines,
            tracker,
            token,
        }
    }

    /// Asks a question and waits for its response until `deadline`.
    pub(crate) async fn exchange(
        &self,
        question: &Question,
        edns: bool,
        deadline: Instant,
    ) -> Result<Exchanged, ExchangeError> {
        let mut lost = 0;
        loop {
            let Chosen { line, reused } = self.lines.choose(Instant::now(), || self.open());
            let asked = line.ask(|id| self.frame(question, id, edns));
            let result = match timeout_at(deadline, asked).await {
                Ok(result) => result.and_then(|(id, octets)| read(octets, question, id, edns)),
                Err(_) if line.local().is_none() => Err(Fault::new(Step::Dial, Cause::Timeout)),
                Err(_) => Err(Fault::new(Step::Read, Cause::Timeout)),
            };
            match result {
                Ok(message) => {
                    line.keep_alive(message.tcp_keepalive());
                    if reused {
                        self.lines.carried_several();
                    }
                    self.lines.settle(Instant::now());
                    return Ok(Exchanged { message, reused });
                }
                // What is lost on a connection of its own is a failure.
                Err(fault)
                    if fault.is_connection_lost()
                        && lost < MAX_LINES_LOST
                        && (reused || line.took_one_query_only()) =>
                {
                    self.lines.lost(&line);
                    lost += 1;
                }
                Err(fault) => return Err(self.error(fault, &line)),
            }
        }
    }

    /// Sends a query on a new connection and waits until `deadline` for any
    /// response to it. A connection that works is kept.
    pub(crate) async fn probe(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> Result<Rcode, ExchangeError> {
        let line = self.open();
        let asked = line.ask(|id| self.frame(question, id, false));
        let result = match timeout_at(deadline, asked).await {
            Ok(Ok((id, octets))) => {
                response_rcode(&octets, id).ok_or_else(|| Fault::new(Step::Read, Cause::Mismatch))
            }
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(Fault::new(Step::Read, Cause::Timeout)),
        };
        match result {
            Ok(rcode) => {
                self.lines.adopt(line);
                self.lines.settle(Instant::now());
                Ok(rcode)
            }
            Err(fault) => Err(self.error(fault, &line)),
        }
    }

    /// Opens a line.
    fn open(&self) -> Line {
        let dialer = self.dialer.clone();
        let dial = async move { dialer.dial().await };
        let (line, driver) = Line::new(dial, self.lines.expire());
        let token = self.token.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = driver => {}
            }
        });
        line
    }

    /// Length and query in one buffer.
    fn frame(&self, question: &Question, id: u16, edns: bool) -> Vec<u8> {
        let hop = match self.dialer.handshake {
            Some(_) => Hop::Tls,
            None => Hop::Tcp,
        };
        let mut query = Vec::with_capacity(512);
        question.write_query(&mut query, id, edns.then_some(UDP_PAYLOAD), hop);
        let length = u16::try_from(query.len()).expect("a query is short");
        let mut frame = Vec::with_capacity(2 + query.len());
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&query);
        frame
    }

    /// An error of this transport.
    fn error(&self, fault: Fault, line: &Line) -> ExchangeError {
        ExchangeError {
            step: fault.step,
            network: match self.dialer.handshake {
                Some(_) => "tcp-tls",
                None => "tcp",
            },
            local: line.local(),
            peer: self.dialer.link.peer,
            cause: fault.cause,
        }
    }
}

/// Reads the response to a question. The id is of this query alone, so
/// anything else is a fault of the upstream.
pub(crate) fn read(
    octets: Vec<u8>,
    question: &Question,
    id: u16,
    edns: bool,
) -> Result<Message, Fault> {
    let fault = |cause| Fault::new(Step::Read, cause);
    if edns && is_header_error(&octets, id) {
        return Err(fault(Cause::NoEdns));
    }
    if !question.is_answered_by(&octets, id) {
        return Err(fault(Cause::Mismatch));
    }
    let message = Message::parse(octets).map_err(|_| fault(Cause::Mismatch))?;
    if edns && lacks_edns(&message) {
        return Err(fault(Cause::NoEdns));
    }
    Ok(message)
}
