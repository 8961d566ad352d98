//! From root to an ordinary user, once the ports are open.
//!
//! A container that starts as root needs root's rights for two things only:
//! ports below 1024, and the group of the Docker socket, which differs from
//! host to host. Both are settled when the first configuration is in effect;
//! from then on the process is an ordinary user.
//!
//! The order matters. New privileges are forbidden before the first thread
//! starts, since each thread has that flag for itself and hands it down. Groups
//! come before the group and the user, while there is still the right to change
//! them; the C library changes them for every thread at once. What is kept is
//! `CAP_NET_BIND_SERVICE`, and only by the thread that opens ports, so that a
//! reload can open more. There are no file capabilities: where new privileges
//! are forbidden they grant nothing.
//!
//! A process that was not started as root stays who it is.

mod account;
mod container;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use nix::unistd::{AccessFlags, Gid, Uid, access, getgroups, setgroups, setresgid, setresuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities,
    set_no_new_privs,
};

use self::account::Account;
use self::container::is_main_process;

/// The way from root to an ordinary user.
#[derive(Debug)]
pub(crate) struct Descent {
    /// Who the process is to be.
    account: Account,
    /// Whether somebody asked for it: then it has to succeed.
    asked: bool,
    /// Whether the groups that root was started with are kept, as a container
    /// runtime was told to add them.
    keeps_groups: bool,
}

/// What the ordinary user has to be able to open later.
#[derive(Debug, Default)]
pub(crate) struct Belongings {
    /// Sockets of Docker Engines, whose groups are taken.
    pub(crate) sockets: Vec<PathBuf>,
    /// Files that a reload reads.
    pub(crate) files: Vec<PathBuf>,
}

// === impl Descent ===

impl Descent {
    /// Decides who the process is to be; none if it stays who it is.
    ///
    /// `user` is what the command line says, `USER[:GROUP]`; without it the
    /// environment is asked, and a process that a container consists of takes
    /// the usual account.
    pub(crate) fn plan(user: Option<&str>) -> anyhow::Result<Option<Self>> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        let variable = std::env::var(VARIABLE)
            .ok()
            .filter(|value| !value.is_empty());
        let asked = user.map(str::to_owned).or(variable);
        let in_container = is_main_process();
        let account = match &asked {
            Some(text) => Account::parse(text).with_context(|| format!("user {text}"))?,
            None if in_container => Account::usual(),
            None => return Ok(None),
        };
        Ok((!account.uid.is_root()).then_some(Self {
            account,
            asked: asked.is_some(),
            keeps_groups: in_container,
        }))
    }

    /// Forbids the process to gain privileges by running a program. To be
    /// called before any thread is started.
    pub(crate) fn forbid_gain(&self) -> anyhow::Result<()> {
        set_no_new_privs(true).context("cannot forbid new privileges")
    }

    /// Becomes the ordinary user. To be called by the thread that opens ports,
    /// when they are open.
    ///
    /// # Errors
    ///
    /// If somebody asked for the change and it is refused, or if it is refused
    /// half-way. Otherwise the process stays root, with a warning.
    pub(crate) fn descend(&self, belongings: &Belongings) -> anyhow::Result<()> {
        let Account { uid, gid, .. } = self.account;
        let groups = match self.take_groups(&belongings.sockets) {
            Ok(groups) => groups,
            Err(error) if self.asked => {
                return Err(error.context(format!("cannot become user {uid}")));
            }
            Err(error) => {
                tracing::warn!(
                    "staying root: {error:#} (in a container: cap_add SETUID and SETGID, or user: \
                     \"{uid}:{gid}\")"
                );
                return Ok(());
            }
        };
        let absent: Vec<&PathBuf> = belongings.paths().filter(|path| !path.exists()).collect();
        let held = capabilities(None).context("cannot read capabilities")?;
        let kept = held.permitted & CapabilitySet::NET_BIND_SERVICE;
        set_keep_capabilities(true).context("cannot keep capabilities")?;
        setresgid(gid, gid, gid).with_context(|| format!("cannot become group {gid}"))?;
        setresuid(uid, uid, uid).with_context(|| format!("cannot become user {uid}"))?;
        set_keep_capabilities(false).context("cannot let go of capabilities")?;
        let sets = CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).context("cannot let go of capabilities")?;
        tracing::info!(%uid, %gid, ?groups, "no longer root");
        self.look_ahead(belongings, &absent);
        Ok(())
    }

    /// Takes the supplementary groups: those of the account, those that a
    /// container was given, those of the sockets.
    fn take_groups(&self, sockets: &[PathBuf]) -> anyhow::Result<Vec<u32>> {
        let held = capabilities(None).context("cannot read capabilities")?;
        for (right, name) in [
            (CapabilitySet::SETUID, "SETUID"),
            (CapabilitySet::SETGID, "SETGID"),
        ] {
            if !held.effective.contains(right) {
                bail!("the capability {name} is missing");
            }
        }
        let mut groups: BTreeSet<u32> =
            self.account.groups.iter().map(|gid| gid.as_raw()).collect();
        if self.keeps_groups {
            let given = getgroups().context("cannot read groups")?;
            groups.extend(given.iter().map(|gid| gid.as_raw()).filter(|gid| *gid != 0));
        }
        groups.extend(sockets.iter().filter_map(|path| group_of(path)));
        groups.remove(&self.account.gid.as_raw());
        let list: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&list).map_err(|error| anyhow!("cannot take groups {groups:?}: {error}"))?;
        Ok(groups.into_iter().collect())
    }

    /// Warns about what the ordinary user will not be able to open. What was
    /// `absent` has been found out as root, who may look everywhere.
    fn look_ahead(&self, belongings: &Belongings, absent: &[&PathBuf]) {
        let Account { uid, .. } = self.account;
        for path in &belongings.sockets {
            if absent.contains(&path) {
                tracing::warn!(
                    path = %path.display(),
                    "there is no Docker socket yet: its group could not be taken, and user {uid} \
                     may not be let in when it appears; restart then, or add the group (group_add)"
                );
            } else if access(path, AccessFlags::R_OK | AccessFlags::W_OK).is_err() {
                tracing::warn!(
                    path = %path.display(),
                    "the Docker socket is not open to user {uid}, nor to its group"
                );
            }
        }
        for path in &belongings.files {
            if !absent.contains(&path) && access(path, AccessFlags::R_OK).is_err() {
                tracing::warn!(
                    path = %path.display(),
                    "user {uid} may not read the configuration: a reload will fail"
                );
            }
        }
    }
}

// === impl Belongings ===

impl Belongings {
    /// All of it.
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.sockets.iter().chain(&self.files)
    }
}

/// The group of a socket; none if it is not there, or not open to its group.
fn group_of(path: &Path) -> Option<u32> {
    let metadata = fs::metadata(path).ok()?;
    (metadata.mode() & GROUP_ACCESS == GROUP_ACCESS).then(|| metadata.gid())
}

/// Permission bits of a socket that lets its group in.
const GROUP_ACCESS: u32 = 0o060;

/// Variable of the environment that says who to be, as `--user` does.
const VARIABLE: &str = "PORTOLAN_USER";
