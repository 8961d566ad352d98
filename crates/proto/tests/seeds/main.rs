//! The seeds of the fuzz targets, `fuzz/seeds`: messages of every kind that
//! the readers know, as octets, one a file. Fuzzers start from them, and here
//! they pass without a fuzzer.
//!
//! With `PORTOLAN_WRITE_SEEDS` in the environment the files are written anew.

#[path = "../../../../fuzz/checks/message.rs"]
mod message;
mod messages;
mod queries;
#[path = "../../../../fuzz/checks/query.rs"]
mod query;
mod wire;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::Path;

/// Names of files, and what is in them.
type Seeds = Vec<(&'static str, Vec<u8>)>;

#[test]
fn queries_are_answered() -> io::Result<()> {
    let seeds = stored("query", queries::all())?;
    seeds.iter().for_each(|octets| query::check(octets));
    Ok(())
}

#[test]
fn messages_are_passed_on() -> io::Result<()> {
    let seeds = stored("message", messages::all())?;
    seeds.iter().for_each(|octets| message::check(octets));
    Ok(())
}

/// What is stored for a target; it has to be what is described here.
fn stored(target: &str, described: Seeds) -> io::Result<Vec<Vec<u8>>> {
    let directory = Path::new(DIRECTORY).join(target);
    if env::var_os("PORTOLAN_WRITE_SEEDS").is_some() {
        fs::remove_dir_all(&directory).unwrap_or_default();
        fs::create_dir_all(&directory)?;
        for (name, octets) in &described {
            fs::write(directory.join(name), octets)?;
        }
    }
    let mut stored = BTreeMap::new();
    for entry in fs::read_dir(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        stored.insert(name, fs::read(entry.path())?);
    }
    let count = described.len();
    let described: BTreeMap<_, _> = described
        .into_iter()
        .map(|(name, octets)| (name.to_owned(), octets))
        .collect();
    assert_eq!(described.len(), count, "two seeds have one name");
    assert_eq!(stored, described, "PORTOLAN_WRITE_SEEDS=1 writes them anew");
    Ok(stored.into_values().collect())
}

/// Where the seeds are.
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds");
