//! One server of a cluster and its engine.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;

use super::Member;
use super::Place;
use super::Probe;
use super::Reply;
use super::Settings;
use super::admin;
use super::engine::Engine;
use crate::client::Answer;
use crate::client::Load;
use crate::client::Plan;
use crate::docker::EngineControl;
use crate::docker::FakeContainer;
use crate::process::Launch;
use crate::process::Process;
use crate::process::Signal;
use crate::process::wait_for;

/// A server with an engine of its own. It runs from [`Node::start`] on, and
/// may be ended and started again; the engine and its containers stay.
#[derive(Debug)]
pub struct Node {
    /// What it is told at its next start.
    pub settings: Settings,
    /// Where it runs.
    place: Place,
    /// The program.
    binary: PathBuf,
    /// Its engine.
    engine: Engine,
    /// The names of each of its containers.
    containers: BTreeMap<String, Vec<String>>,
    /// Every name that a container of it ever had.
    known: BTreeSet<String>,
    /// Asks it.
    probe: Probe,
    /// It, while it runs.
    process: Option<Process>,
    /// What it wrote in former lives.
    past: Vec<String>,
}

// === impl Node ===

impl Node {
    /// A node that does not run yet.
    ///
    /// # Errors
    ///
    /// If there are no sockets to be had.
    pub fn new(binary: &Path, place: Place, settings: Settings) -> anyhow::Result<Self> {
        Ok(Self {
            settings,
            probe: Probe::open(&place)?,
            place,
            binary: binary.to_owned(),
            engine: Engine::start()?,
            containers: BTreeMap::new(),
            known: BTreeSet::new(),
            process: None,
            past: Vec::new(),
        })
    }

    /// Where it runs.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Where it gossips.
    pub fn gossip(&self) -> SocketAddr {
        SocketAddr::from((self.place.ip, self.settings.gossip_port))
    }

    /// Where other nodes find it, as a seed.
    pub fn seed(&self) -> String {
        self.gossip().to_string()
    }

    /// Moves its DNS to another port, for the next start.
    ///
    /// # Errors
    ///
    /// If there is no socket to be had.
    pub fn move_to(&mut self, port: u16) -> anyhow::Result<()> {
        self.place.dns.set_port(port);
        self.probe = Probe::open(&self.place)?;
        Ok(())
    }

    /// Starts it, and does not wait.
    ///
    /// # Errors
    ///
    /// If it runs already, or cannot be run.
    pub fn start(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "{} runs", self.settings.name);
        let launch = Launch::new(&self.binary);
        let launch = self
            .settings
            .apply(launch, &self.place, &self.engine.host());
        self.process = Some(self.place.enter(|| launch.start())?);
        Ok(())
    }

    /// Gives it its settings while it runs, except for the environment; tells
    /// whether it took them.
    ///
    /// # Errors
    ///
    /// If it does not run, or does not say.
    pub fn reload(&self) -> anyhow::Result<bool> {
        let count = |text: &str| {
            let lines = self.lines();
            lines.iter().filter(|line| line.contains(text)).count()
        };
        let (taken, refused) = (count(TAKEN), count(REFUSED));
        let process = self.process()?;
        let text = self.settings.text(&self.place, &self.engine.host());
        fs::write(process.directory().join("Corefile"), text)?;
        process.signal(Signal::SIGHUP)?;
        let outcome = || {
            let is_taken = count(TAKEN) > taken;
            (is_taken || count(REFUSED) > refused).then_some(is_taken)
        };
        wait_for(outcome).with_context(|| format!("no reload\n{}", self.output()))
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    ///
    /// If it takes long.
    pub fn await_ready(&self) -> anyhow::Result<()> {
        wait_for(|| self.is_ready().then_some(()))
            .with_context(|| format!("{} is not ready\n{}", self.settings.name, self.output()))
    }

    /// Whether it says that it is ready.
    pub fn is_ready(&self) -> bool {
        admin::get(&self.place, "/ready").is_ok_and(|(status, _)| status == 200)
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The process.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn process(&self) -> anyhow::Result<&Process> {
        let name = &self.settings.name;
        self.process
            .as_ref()
            .with_context(|| format!("{name} does not run"))
    }

    /// Ends it by force.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.end(Signal::SIGKILL).map(drop)
    }

    /// Tells it to end, and waits until it did.
    ///
    /// # Errors
    ///
    /// If it does not run, or does not end, or says that it failed.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let status = self.end(Signal::SIGTERM)?;
        ensure!(status.success(), "{status}\n{}", self.output());
        Ok(())
    }

    /// Waits until it has ended, having been told to by [`Self::signal`].
    ///
    /// # Errors
    ///
    /// If it does not run, or does not end.
    pub fn reap(&mut self) -> anyhow::Result<ExitStatus> {
        let mut process = self.process.take().context("it does not run")?;
        let status = process.wait();
        self.past.extend(process.lines());
        status
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.process()?.signal(signal)
    }

    /// Starts a container; a former one with the same id is replaced.
    pub fn run(&mut self, id: &str, names: &[&str]) {
        self.put(id, names);
        self.engine.control().start(id);
    }

    /// Adds a container that runs, of which no event tells.
    pub fn put(&mut self, id: &str, names: &[&str]) {
        let label = names.join(",");
        let container = FakeContainer::new(id, LABEL, &label);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.known.extend(names.iter().cloned());
        self.containers.insert(id.to_owned(), names);
        self.engine.control().put(container);
    }

    /// Stops and removes a container.
    pub fn destroy(&mut self, id: &str) {
        self.containers.remove(id);
        self.engine.control().destroy(id);
    }

    /// Removes a container, of which no event tells.
    pub fn forget(&mut self, id: &str) {
        self.containers.remove(id);
        self.engine.control().forget(id);
    }

    /// The names of each of its containers.
    pub fn containers(&self) -> &BTreeMap<String, Vec<String>> {
        &self.containers
    }

    /// Every name that a container of it ever had.
    pub fn known(&self) -> &BTreeSet<String> {
        &self.known
    }

    /// Does other things to its engine's containers.
    pub fn control(&self) -> EngineControl {
        self.engine.control()
    }

    /// Ends its engine; the containers stay.
    pub fn stop_engine(&mut self) {
        self.engine.stop();
    }

    /// Starts its engine again.
    ///
    /// # Errors
    ///
    /// If its socket cannot be bound.
    pub fn resume_engine(&mut self) -> anyhow::Result<()> {
        self.engine.resume()
    }

    /// Asks it.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// What it says about a name.
    ///
    /// # Errors
    ///
    /// If it says nothing for a second.
    pub fn ask(&self, name: &str) -> anyhow::Result<Reply> {
        self.probe.ask(name)
    }

    /// Begins to ask it much.
    ///
    /// # Errors
    ///
    /// See [`Load::start`].
    pub fn load(
        &self,
        plan: &Plan,
        judge: impl Fn(&str, &Answer) -> Result<(), String> + Send + Sync + 'static,
    ) -> anyhow::Result<Load> {
        self.place
            .enter(|| Load::start(self.place.dns, plan, judge))
    }

    /// The members as it sees them.
    ///
    /// # Errors
    ///
    /// If it does not say.
    pub fn members(&self) -> anyhow::Result<Vec<Member>> {
        admin::members(&self.place)
    }

    /// The members as it tells them, for people.
    pub fn show_members(&self) -> String {
        match admin::get(&self.place, "/members") {
            Ok((_, body)) => body.replace("},", "},\n"),
            Err(error) => format!("no members: {error:#}"),
        }
    }

    /// All its metrics.
    ///
    /// # Errors
    ///
    /// If it does not say.
    pub fn metrics(&self) -> anyhow::Result<String> {
        let (status, body) = admin::get(&self.place, "/metrics")?;
        ensure!(status == 200, "/metrics: {status}");
        Ok(body)
    }

    /// The sum of the series of a metric that have all of these labels.
    ///
    /// # Errors
    ///
    /// If it does not say.
    pub fn metric(&self, name: &str, labels: &[&str]) -> anyhow::Result<f64> {
        admin::metric(&self.place, name, labels)
    }

    /// Processor time that it has used in this life.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process()?.pid()))?;
        // The name before it may hold anything, in parentheses.
        let (_, figures) = stat.rsplit_once(") ").context("no name")?;
        let mut figures = figures.split(' ').skip(11);
        let mut ticks = || figures.next()?.parse::<u64>().ok();
        let ticks = ticks().zip(ticks()).map(|(user, system)| user + system);
        let ticks = ticks.context("no times")?;
        Ok(Duration::from_millis(ticks * MILLIS_A_TICK))
    }

    /// Everything it wrote, in former lives too.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.past.clone();
        if let Some(process) = &self.process {
            lines.extend(process.lines());
        }
        lines
    }

    /// The last of what it wrote.
    pub fn output(&self) -> String {
        let lines = self.lines();
        let skipped = lines.len().saturating_sub(SHOWN);
        let shown = lines.get(skipped..).unwrap_or_default();
        format!("{}:\n{}", self.settings.name, shown.join("\n"))
    }

    /// Waits for a line that contains all of these, whatever the case.
    ///
    /// # Errors
    ///
    /// If it is not written, in three times as long as other things may take:
    /// some are said only once they have lasted.
    pub fn await_line(&self, words: &[&str]) -> anyhow::Result<String> {
        let has_all = |line: &String| {
            let line = line.to_lowercase();
            words.iter().all(|word| line.contains(&word.to_lowercase()))
        };
        let find = || self.lines().into_iter().find(has_all);
        wait_for(find)
            .or_else(|| wait_for(find))
            .or_else(|| wait_for(find))
            .with_context(|| format!("no line with {words:?}\n{}", self.output()))
    }

    /// Ends it by a signal.
    fn end(&mut self, signal: Signal) -> anyhow::Result<ExitStatus> {
        self.signal(signal)?;
        self.reap()
    }
}

/// Label that names are in, which is one by default.
const LABEL: &str = "joyride.host.name";

/// What it writes when it has taken a new configuration.
const TAKEN: &str = "Reloading complete";

/// What it writes when it has not.
const REFUSED: &str = "the old configuration stays";

/// Length of a tick of the system's accounts, on every system of today.
const MILLIS_A_TICK: u64 = 10;

/// So many lines of its output are shown.
const SHOWN: usize = 60;
