//! The signals the program obeys, as CoreDNS has them.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// SIGTERM: stop, gently.
    Terminate,
    /// SIGINT: stop, gently.
    Interrupt,
    /// SIGQUIT: stop at once.
    Quit,
    /// SIGHUP, SIGUSR1, SIGUSR2: load the configuration again. Holds the
    /// signal's name.
    Reload(&'static str),
}

/// The signals, being listened for.
pub(crate) struct Signals {
    /// SIGTERM.
    terminate: Signal,
    /// SIGINT.
    interrupt: Signal,
    /// SIGQUIT.
    quit: Signal,
    /// SIGHUP.
    hangup: Signal,
    /// SIGUSR1.
    user1: Signal,
    /// SIGUSR2.
    user2: Signal,
}

// === impl Signals ===

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// If the runtime cannot take over the signals.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next request. Cancel safe.
    pub(crate) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Terminate,
            _ = self.interrupt.recv() => Request::Interrupt,
            _ = self.quit.recv() => Request::Quit,
            _ = self.hangup.recv() => Request::Reload("SIGHUP"),
            _ = self.user1.recv() => Request::Reload("SIGUSR1"),
            _ = self.user2.recv() => Request::Reload("SIGUSR2"),
        }
    }

    /// Does some work, and gives the request to reload that came meanwhile.
    ///
    /// # Errors
    ///
    /// A request to stop does not wait for the work: it ends it.
    pub(crate) async fn during<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<(T, Option<Request>), Request> {
        let mut work = std::pin::pin!(work);
        let mut waiting = None;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok((done, waiting)),
                request = self.next() => match request {
                    Request::Reload(_) => waiting = Some(request),
                    Request::Terminate | Request::Interrupt | Request::Quit => {
                        return Err(request);
                    }
                },
            }
        }
    }

    /// As [`Self::during`], and gives whatever request there is to obey next.
    pub(crate) async fn until_stop(&mut self, work: impl Future<Output = ()>) -> Option<Request> {
        match self.during(work).await {
            Ok(((), waiting)) => waiting,
            Err(stop) => Some(stop),
        }
    }
}
