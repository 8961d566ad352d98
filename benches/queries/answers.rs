//! What one answer takes in user space: the bench `answer` of
//! `portolan-server`, in nanoseconds and, where valgrind is installed, in
//! instructions, which do not depend on what else the machine does.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::str;

use anyhow::Context as _;
use anyhow::ensure;
use serde_json::Value;

use crate::machine;

/// What answers take, by the number of names.
#[derive(Default)]
pub(crate) struct Answers {
    /// Nanoseconds of one.
    pub(crate) nanoseconds: BTreeMap<u32, f64>,
    /// Instructions of one; nothing where they cannot be counted.
    pub(crate) instructions: BTreeMap<u32, u64>,
}

/// Measures.
pub(crate) fn measure() -> anyhow::Result<Answers> {
    let bench = executable()?;
    let mut nanoseconds = BTreeMap::new();
    let text = output(Command::new(&bench).arg("--bench"))?;
    for line in text.lines().skip(1) {
        let mut words = line.split_whitespace();
        let mut word = || words.next().with_context(|| line.to_owned());
        nanoseconds.insert(word()?.parse()?, word()?.parse()?);
    }
    let mut instructions = BTreeMap::new();
    if machine::has(VALGRIND) {
        for names in COUNTED {
            let few = callgrind(&bench, names, ANSWERS)?;
            let many = callgrind(&bench, names, ANSWERS * 2)?;
            instructions.insert(names, many.saturating_sub(few) / ANSWERS);
        }
    }
    Ok(Answers {
        nanoseconds,
        instructions,
    })
}

/// The table, in Markdown.
pub(crate) fn table(answers: &Answers) -> String {
    let mut text = "\n## an answer in user space, metrics included\n\n\
                    | names | ns | instructions |\n|---|---|---|\n"
        .to_owned();
    for (names, nanoseconds) in &answers.nanoseconds {
        let instructions = answers.instructions.get(names);
        let instructions = instructions.map(u64::to_string).unwrap_or_default();
        text += &format!("| {names} | {nanoseconds:.0} | {instructions} |\n");
    }
    if answers.instructions.is_empty() {
        text += "\nInstructions were not counted: valgrind is not installed.\n";
    }
    text
}

/// Builds the bench and says where it is.
fn executable() -> anyhow::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = "bench --locked -p portolan-server --bench answer --no-run \
                     --message-format json";
    let text = output(
        Command::new(cargo)
            .args(arguments.split(' '))
            .current_dir(env!("CARGO_MANIFEST_DIR")),
    )?;
    let mut messages = text.lines().map(serde_json::from_str::<Value>);
    let found = messages.find_map(|message| {
        let message = message.ok()?;
        let is_bench = message.pointer("/target/name")? == "answer";
        let path = message.get("executable")?.as_str()?;
        is_bench.then(|| PathBuf::from(path))
    });
    found.context("cargo does not say where the bench `answer` is")
}

/// Instructions of a run of the bench.
fn callgrind(bench: &Path, names: u32, answers: u64) -> anyhow::Result<u64> {
    let output = Command::new(VALGRIND)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(bench)
        .args(["--count", &names.to_string(), &answers.to_string()])
        .output()
        .context("cannot run valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind failed: {text}");
    let mut lines = text.lines();
    let figure = lines.find_map(|line| Some(line.split_once("Collected :")?.1.trim()));
    Ok(figure.context("valgrind counts nothing")?.parse()?)
}

/// What a program writes.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().context("cannot run a program")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {complaint}");
    Ok(str::from_utf8(&output.stdout)?.to_owned())
}

/// What arguments call this.
pub(crate) const WORD: &str = "answer";

/// What counts instructions.
const VALGRIND: &str = "valgrind";

/// Names of the tables that instructions are counted with.
const COUNTED: [u32; 2] = [10_000, 100_000];

/// Answers that the shorter of two runs gives.
const ANSWERS: u64 = 100_000;
