//! Who the process is to be.

use std::ffi::CString;

use anyhow::Context as _;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

/// A user, with the groups that come with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The user.
    pub(crate) uid: Uid,
    /// Its group.
    pub(crate) gid: Gid,
    /// The further groups that the system lists for it.
    pub(crate) groups: Vec<Gid>,
}

// === impl Account ===

impl Account {
    /// The account that container images have for this, and that Joyride had.
    pub(crate) fn usual() -> Self {
        Self {
            uid: Uid::from_raw(USUAL),
            gid: Gid::from_raw(USUAL),
            groups: Vec::new(),
        }
    }

    /// Reads `USER[:GROUP]`, each a name or a number. The group is the user's
    /// own unless one is given; for a number that the system does not know, it
    /// is that number.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let (uid, known) = match user.parse() {
            Ok(number) => {
                let uid = Uid::from_raw(number);
                // A system without a list of users knows nobody.
                (uid, User::from_uid(uid).ok().flatten())
            }
            Err(_) => {
                let known = User::from_name(user)
                    .ok()
                    .flatten()
                    .context("there is no such user")?;
                (known.uid, Some(known))
            }
        };
        let gid = match (group, &known) {
            (Some(group), _) => parse_group(group)?,
            (None, Some(known)) => known.gid,
            (None, None) => Gid::from_raw(uid.as_raw()),
        };
        let groups = known.map_or_else(Vec::new, |known| groups_of(&known));
        Ok(Self { uid, gid, groups })
    }
}

/// Reads the name or the number of a group.
fn parse_group(text: &str) -> anyhow::Result<Gid> {
    if let Ok(number) = text.parse() {
        return Ok(Gid::from_raw(number));
    }
    let group = Group::from_name(text).ok().flatten();
    Ok(group.context("there is no such group")?.gid)
}

/// The groups that the system lists for a user.
fn groups_of(user: &User) -> Vec<Gid> {
    CString::new(user.name.as_str())
        .ok()
        .and_then(|name| getgrouplist(&name, user.gid).ok())
        .unwrap_or_default()
}

/// Number of the usual user and of its group.
const USUAL: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    /// User and group as numbers.
    fn numbers(text: &str) -> anyhow::Result<(u32, u32)> {
        let account = Account::parse(text)?;
        Ok((account.uid.as_raw(), account.gid.as_raw()))
    }

    #[test]
    fn users_and_groups_are_names_or_numbers() -> anyhow::Result<()> {
        for (text, expected) in [
            ("54321", (54321, 54321)),
            ("54321:7", (54321, 7)),
            ("0", (0, 0)),
            ("root", (0, 0)),
            ("root:54321", (0, 54321)),
            ("54321:root", (54321, 0)),
        ] {
            assert_eq!(numbers(text)?, expected, "{text}");
        }
        Ok(())
    }

    #[test]
    fn who_is_not_known_is_an_error() {
        for text in [
            "",
            ":",
            "nobody-of-that-name",
            "1000:no-such-group",
            "1000:",
            "-1",
        ] {
            assert!(numbers(text).is_err(), "{text}");
        }
    }
}
