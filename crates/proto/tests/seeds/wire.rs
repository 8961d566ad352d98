//! Octets of messages, written by hand so that they may be wrong.

/// A header, and counts of questions, answers, authorities and additionals.
pub(crate) fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let words = [0x1234, flags].into_iter().chain(counts);
    words.flat_map(u16::to_be_bytes).collect()
}

/// A name; none of it is compressed.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let mut octets: Vec<u8> = labels
        .flat_map(|label| {
            let length = u8::try_from(label.len()).expect("seeds are short");
            [&[length], label.as_bytes()].concat()
        })
        .collect();
    octets.push(0);
    octets
}

/// A question.
pub(crate) fn question(owner: &str, qtype: u16) -> Vec<u8> {
    [
        name(owner),
        qtype.to_be_bytes().to_vec(),
        IN.to_be_bytes().to_vec(),
    ]
    .concat()
}

/// A record of a name in wire form, which may be a pointer.
pub(crate) fn record(owner: &[u8], rtype: u16, rdata: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rdata.len())
        .expect("seeds are short")
        .to_be_bytes();
    [
        owner,
        &rtype.to_be_bytes(),
        &IN.to_be_bytes(),
        &300_u32.to_be_bytes(),
        &length,
        rdata,
    ]
    .concat()
}

/// An OPT with its upper 16 bits of the TTL, its flags and its options.
pub(crate) fn opt(payload: u16, above: u16, flags: u16, options: &[u8]) -> Vec<u8> {
    let length = u16::try_from(options.len()).expect("seeds are short");
    let words = [OPT, payload, above, flags, length];
    let mut octets = vec![0];
    octets.extend(words.into_iter().flat_map(u16::to_be_bytes));
    octets.extend_from_slice(options);
    octets
}

/// An option of an OPT.
pub(crate) fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("seeds are short");
    [&code.to_be_bytes(), &length.to_be_bytes(), value].concat()
}

/// A pointer to an offset of the message.
pub(crate) fn pointer(offset: u16) -> Vec<u8> {
    (0xc000 | offset).to_be_bytes().to_vec()
}

/// Where the name of the question begins.
pub(crate) const QNAME: u16 = 12;

/// Class IN.
const IN: u16 = 1;

/// Type OPT.
const OPT: u16 = 41;
