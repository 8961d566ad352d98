//! What a path stands for at the moment: a file, the files of a directory, or
//! the files that match a pattern.
//!
//! This is decided anew at each look, so that a path may appear late, or turn
//! from a file into a directory. Only `stat` and directory reads happen here.

use std::ffi::OsStr;
use std::fs;
use std::fs::Metadata;
use std::io;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// What a path stands for.
#[derive(Debug)]
pub(crate) enum Listing {
    /// These files.
    Files {
        /// The files in the order of their names.
        found: Vec<Found>,
        /// Whether this is all. A file that is missing from an incomplete
        /// listing may exist all the same.
        complete: bool,
        /// Whether there are more files than a selection takes.
        truncated: bool,
    },
    /// Nothing: the file, the directory or what a pattern begins with is not
    /// there.
    Missing,
    /// It is there and cannot be looked into.
    Unreadable(io::Error),
}

/// Which members of a directory, or matches of a pattern, count as files of
/// it. A path that is a file counts whatever its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection {
    /// Names have to have one of these extensions; none at all admits any.
    pub(crate) extensions: &'static [&'static str],
    /// Names that do not count.
    pub(crate) excluded: &'static [&'static str],
    /// How many count at most; the first by name.
    pub(crate) max_files: usize,
}

/// A file that was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its path: as configured, or below the configured directory.
    pub(crate) path: Arc<str>,
    /// What `stat` says of it.
    pub(crate) stamp: io::Result<Stamp>,
}

/// Identity and age of a file's content as far as `stat` can tell: if none of
/// it differs, the file is taken not to have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// File system that holds it.
    pub(crate) device: u64,
    /// Number within the file system: another after a replacement by rename.
    pub(crate) inode: u64,
    /// Length in octets.
    pub(crate) size: u64,
    /// Last modification.
    pub(crate) modified: SystemTime,
}

/// Lists what a path stands for.
pub(crate) fn list(path: &str, selection: &Selection) -> Listing {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => list_directory(path, selection),
        Ok(metadata) => Listing::Files {
            found: vec![Found {
                path: path.into(),
                stamp: Stamp::of(&metadata),
            }],
            complete: true,
            truncated: false,
        },
        Err(error) if is_absent(&error) && is_pattern(path) => list_matches(path, selection),
        Err(error) if is_absent(&error) => Listing::Missing,
        Err(error) => Listing::Unreadable(error),
    }
}

/// The directory that a pattern looks into first: its components up to the
/// first one with a wildcard.
pub(crate) fn pattern_base(path: &str) -> PathBuf {
    let base: PathBuf = Path::new(path)
        .components()
        .take_while(|component| !component.as_os_str().to_str().is_some_and(is_pattern))
        .collect();
    if base.as_os_str().is_empty() {
        return PathBuf::from(".");
    }
    base
}

/// Whether a path holds a wildcard.
pub(crate) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Wildcards as a shell has them: none matches a slash or a leading dot.
pub(crate) const MATCHING: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

// === impl Selection ===

impl Selection {
    /// Whether a name is that of a file that counts.
    fn admits(&self, name: &OsStr) -> bool {
        let Some(name) = name.to_str().filter(|name| !is_passed_over(name)) else {
            return false;
        };
        let has_extension = self.extensions.is_empty()
            || name
                .rsplit_once('.')
                .is_some_and(|(_, extension)| self.extensions.contains(&extension));
        has_extension && !self.excluded.contains(&name)
    }
}

// === impl Stamp ===

impl Stamp {
    /// Takes the stamp of a regular file.
    pub(crate) fn of(metadata: &Metadata) -> io::Result<Self> {
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: metadata.modified()?,
        })
    }
}

/// Lists the files of a directory, not of those within.
fn list_directory(path: &str, selection: &Selection) -> Listing {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Listing::Missing,
        Err(error) => return Listing::Unreadable(error),
    };
    let mut complete = true;
    let mut candidates = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => candidates.push(entry.path()),
            Err(_) => complete = false,
        }
    }
    members(candidates, complete, selection)
}

/// Lists the files that match a pattern.
fn list_matches(path: &str, selection: &Selection) -> Listing {
    if let Err(error) = fs::metadata(pattern_base(path)) {
        return if is_absent(&error) {
            Listing::Missing
        } else {
            Listing::Unreadable(error)
        };
    }
    let matches = match glob::glob_with(path, MATCHING) {
        Ok(matches) => matches,
        Err(error) => {
            return Listing::Unreadable(io::Error::new(ErrorKind::InvalidInput, error));
        }
    };
    let mut complete = true;
    let mut candidates = Vec::new();
    for found in matches {
        match found {
            Ok(path) => candidates.push(path),
            Err(_) => complete = false,
        }
    }
    members(candidates, complete, selection)
}

/// Keeps the files among the members of a directory or the matches of a
/// pattern.
fn members(mut candidates: Vec<PathBuf>, mut complete: bool, selection: &Selection) -> Listing {
    candidates.retain(|path| path.file_name().is_some_and(|name| selection.admits(name)));
    candidates.sort_unstable();
    let mut truncated = false;
    let mut found = Vec::new();
    for path in candidates {
        // A path that is no text cannot be shown, configured or told apart in
        // a metric.
        let Some(path) = path.to_str() else {
            continue;
        };
        let stamp = match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => continue,
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) if is_absent(&error) => continue,
            Err(error) => Err(error),
        };
        if found.len() == selection.max_files {
            complete = false;
            truncated = true;
            break;
        }
        found.push(Found {
            path: path.into(),
            stamp,
        });
    }
    Listing::Files {
        found,
        complete,
        truncated,
    }
}

/// Whether a name is that of a hidden file, an editor's backup or a package
/// manager's left-over.
fn is_passed_over(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    name.starts_with('.')
        || name.ends_with('~')
        || (name.starts_with('#') && name.ends_with('#'))
        || ["bak", "swp", "tmp"].contains(&extension)
        || extension.starts_with("dpkg-")
        || extension.starts_with("rpm")
}

/// Whether an error says that nothing is there.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
impl Selection {
    /// Any name.
    pub(crate) const ANY: Self = Self {
        extensions: &[],
        excluded: &[],
        max_files: 16,
    };
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_directory_stands_for_its_visible_files() {
        let dir = TempDir::new().unwrap();
        for name in [
            "b",
            "a.hosts",
            ".hidden",
            "a~",
            "a.bak",
            "a.swp",
            "a.tmp",
            "#a#",
            "a.dpkg-old",
            "a.rpmsave",
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("nested")).unwrap();
        fs::write(dir.path().join("nested/c"), "").unwrap();
        symlink("b", dir.path().join("link")).unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        symlink("nested", dir.path().join("to-a-directory")).unwrap();
        assert_eq!(
            names(dir.path().to_str().unwrap()),
            ["a.hosts", "b", "link"]
        );
    }

    #[test]
    fn a_pattern_stands_for_its_matches() {
        let dir = TempDir::new().unwrap();
        for name in ["b.hosts", "a.hosts", "a.hosts~", ".c.hosts", "a.txt"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let pattern = |tail: &str| format!("{}/{tail}", dir.path().display());
        assert_eq!(names(&pattern("*.hosts")), ["a.hosts", "b.hosts"]);
        assert_eq!(names(&pattern("*")), ["a.hosts", "a.txt", "b.hosts"]);
        assert_eq!(names(&pattern("[b-z].hosts")), ["b.hosts"]);
        assert_eq!(names(&pattern("x*")), [""; 0]);
    }

    #[test]
    fn a_selection_takes_the_first_names_with_its_extensions() {
        let dir = TempDir::new().unwrap();
        for name in [
            "b.yml",
            "a.toml",
            "c.yml",
            "d.yml",
            "yml",
            "a.json",
            "c.yml.old",
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let selection = Selection {
            extensions: &["yml", "toml"],
            excluded: &["b.yml"],
            max_files: 9,
        };
        let path = dir.path().to_str().unwrap();
        assert_eq!(selected(path, selection), ["a.toml", "c.yml", "d.yml"]);
        let few = Selection {
            max_files: 2,
            ..selection
        };
        assert_eq!(selected(path, few), ["a.toml", "c.yml"]);
    }

    #[test]
    fn a_file_whose_name_looks_like_a_pattern_is_that_file() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("what?");
        fs::write(&path, "").unwrap();
        fs::write(dir.path().join("whatx"), "").unwrap();
        assert_eq!(names(path.to_str().unwrap()), ["what?"]);
    }

    #[test]
    fn what_is_not_there_is_missing() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        for tail in ["none", "none/hosts", "file/hosts", "none/*.hosts"] {
            let path = format!("{}/{tail}", dir.path().display());
            assert!(
                matches!(list(&path, &Selection::ANY), Listing::Missing),
                "{tail}"
            );
        }
    }

    #[test]
    fn a_path_that_is_no_regular_file_says_so() {
        let Listing::Files { found, .. } = list("/dev/null", &Selection::ANY) else {
            panic!("a device is there");
        };
        assert!(found.first().unwrap().stamp.is_err());
    }

    #[test]
    fn the_base_of_a_pattern_ends_before_its_first_wildcard() {
        for (path, expected) in [
            ("/etc/hosts.d/*", "/etc/hosts.d"),
            ("/etc/*/hosts/x?", "/etc"),
            ("*.hosts", "."),
            ("sub/*.hosts", "sub"),
            ("/*", "/"),
        ] {
            assert_eq!(pattern_base(path), Path::new(expected), "{path}");
        }
    }

    fn names(path: &str) -> Vec<String> {
        selected(path, Selection::ANY)
    }

    fn selected(path: &str, selection: Selection) -> Vec<String> {
        let Listing::Files {
            found,
            complete,
            truncated,
        } = list(path, &selection)
        else {
            panic!("{path} is there");
        };
        assert_eq!(complete, !truncated);
        assert_eq!(truncated, found.len() == selection.max_files);
        found
            .iter()
            .map(|file| file.path.rsplit('/').next().unwrap().to_owned())
            .collect()
    }
}
