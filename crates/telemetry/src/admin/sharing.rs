//! Changing the address of a port without closing it first.
//!
//! A configuration that turns `localhost:9153` into `:9153` asks for an address
//! that the old listener still blocks. The old one must not be closed before all
//! else is known to work, so for the time of the change both sockets may share
//! the port. Linux remembers for as long as the port is in use that it was once
//! shared: until then a process of the same user that asks for sharing could
//! join. That is why no socket is opened that way without need.

use std::io;
use std::sync::Arc;

use socket2::Socket;

/// Sockets whose port is meant to be shared until this is dropped.
#[derive(Debug, Default)]
pub(super) struct PortSharing {
    /// The sockets.
    sockets: Vec<Arc<Socket>>,
}

// === impl PortSharing ===

impl PortSharing {
    /// Lets other sockets join the ports of `sockets`.
    pub(super) fn open(&mut self, sockets: Vec<Arc<Socket>>) -> io::Result<()> {
        for socket in sockets {
            socket.set_reuse_port(true)?;
            self.add(socket);
        }
        Ok(())
    }

    /// Takes charge of a socket that was opened to share its port.
    pub(super) fn add(&mut self, socket: Arc<Socket>) {
        self.sockets.push(socket);
    }
}

impl Drop for PortSharing {
    fn drop(&mut self) {
        for socket in &self.sockets {
            // A socket that is open takes this option.
            let _ = socket.set_reuse_port(false);
        }
    }
}
