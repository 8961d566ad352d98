//! Datagrams, sent and received many at a time, with what the kernel is told
//! and says of them: `sendmmsg` and `recvmmsg`.
//!
//! The C libraries stand between: musl sends the messages of one `sendmmsg` one
//! by one, and with glibc a thread may be cancelled in each call, which costs
//! as much as a look-up in the table. So the system calls are made directly.
//! This is the one library of the workspace with `unsafe` code. What it has to
//! keep to:
//!
//! 1. A header names octets, an address and control messages that live until
//!    the call returns, and has their true lengths.
//! 2. What the kernel writes to is borrowed exclusively.
//! 3. What the kernel wrote is read as far as it says that it wrote.
//! 4. Room that headers name from call to call neither grows nor moves.
//!
//! Control messages are written and read as octets, without pointers: see
//! [`control`].

mod control;
mod receive;
mod send;

pub use control::Control;
pub use control::Local;
pub use receive::MOST as MOST_RECEIVED;
pub use receive::Received;
pub use receive::Receiver;
pub use send::MOST as MOST_SENT;
pub use send::Sender;
pub use send::send_one;
