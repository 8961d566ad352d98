//! `multisocket`: the UDP sockets of an address, and how they are read.

use crate::diagnostic::ConfigError;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::words::Words;

/// The UDP sockets of the addresses of a block. Of several blocks on one
/// address the first that has it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multisocket {
    /// How many there are, and threads that read them: 1 to 1,024. Default:
    /// one for each core that the process may use.
    pub sockets: Option<u16>,
    /// Receive buffer of each to ask the kernel for, in octets. Default 4 MiB.
    pub receive_buffer: Option<u32>,
    /// Send buffer of each to ask the kernel for, in octets. Default: what
    /// the kernel gives.
    pub send_buffer: Option<u32>,
    /// Whether the kernel may hand over several datagrams as one and cut up
    /// several responses (UDP GRO and GSO). Default on.
    pub segmentation: bool,
}

/// Reads the occurrences of `multisocket`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Option<Located<Multisocket>> {
    let directive = scope.once(written)?;
    let sockets = sockets(&mut Words::arguments(scope.plugin, directive));
    let mut multisocket = Multisocket {
        sockets: scope.sink.keep(sockets).flatten(),
        receive_buffer: None,
        send_buffer: None,
        segmentation: true,
    };
    scope.properties(directive, |words, _| {
        match words.current().text.as_str() {
            "receive_buffer" => multisocket.receive_buffer = Some(octets(words)?),
            "send_buffer" => multisocket.send_buffer = Some(octets(words)?),
            "segmentation" => multisocket.segmentation = switch(words)?,
            _ => return Err(words.unknown_property(PROPERTIES)),
        }
        words.end()
    });
    Some(Located::new(multisocket, &directive.name.position))
}

/// Reads `[SOCKETS]`.
fn sockets(words: &mut Words<'_>) -> Result<Option<u16>, ConfigError> {
    let Some(token) = words.take() else {
        return Ok(None);
    };
    let number = words.integer_of(token)?;
    let sockets = u16::try_from(number)
        .ok()
        .filter(|sockets| (1..=MAX_SOCKETS).contains(sockets));
    let Some(sockets) = sockets else {
        let message = format!("number of sockets must be 1 to {MAX_SOCKETS}: {number}");
        return Err(words.error(message));
    };
    words.end()?;
    Ok(Some(sockets))
}

/// Reads the size of a buffer.
fn octets(words: &mut Words<'_>) -> Result<u32, ConfigError> {
    let property = words.current().text.clone();
    let token = words.expect()?;
    let number = words.integer_of(token)?;
    u32::try_from(number)
        .ok()
        .filter(|octets| (MIN_BUFFER..=MAX_BUFFER).contains(octets))
        .ok_or_else(|| {
            words.error(format!(
                "{property} must be {MIN_BUFFER} to {MAX_BUFFER} octets: {number}"
            ))
        })
}

/// Reads `on` or `off`.
fn switch(words: &mut Words<'_>) -> Result<bool, ConfigError> {
    let token = words.expect()?;
    match token.text.as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(words.error(format!("segmentation is 'on' or 'off', not '{other}'"))),
    }
}

/// The properties.
const PROPERTIES: &[&str] = &["receive_buffer", "send_buffer", "segmentation"];

/// Most sockets of one address, as in CoreDNS.
const MAX_SOCKETS: u16 = 1024;

/// A buffer that holds a few datagrams.
const MIN_BUFFER: u32 = 4096;

/// More than any kernel is told to give.
const MAX_BUFFER: u32 = 1 << 30;
