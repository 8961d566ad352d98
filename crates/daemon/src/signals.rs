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
}
