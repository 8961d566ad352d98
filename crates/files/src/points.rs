//! Which places to watch so that a change of a path is noticed.
//!
//! Watching a file is not enough: it may be replaced, be reached through
//! symbolic links that are replaced (a Kubernetes `ConfigMap` swaps the link
//! `..data`), or not exist yet. Watching its directory is not enough either: a
//! file that is mounted over (`docker run -v hosts:/etc/hosts`) changes without
//! any sign in the directory it is seen in. So a path is followed component by
//! component: each directory that holds a link on the way, the last directory
//! that exists, and the file itself are the points to watch.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use crate::paths::Listing;
use crate::paths::MATCHING;
use crate::paths::is_pattern;
use crate::paths::pattern_base;

/// Places to watch, each with its device and inode: a place that was replaced
/// by another of the same path has to be watched anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Points(BTreeMap<PathBuf, (u64, u64)>);

// === impl Points ===

impl Points {
    /// Adds what a configured path depends on, given what it stands for.
    pub(crate) fn follow(&mut self, path: &str, listing: &Listing) {
        if is_pattern(path) {
            self.follow_path(&pattern_base(path));
            self.follow_wildcards(path);
        } else {
            self.follow_path(Path::new(path));
        }
        if let Listing::Files { found, .. } = listing {
            for file in found {
                if self.0.len() >= MAX_POINTS {
                    return;
                }
                self.follow_path(Path::new(&*file.path));
            }
        }
    }

    /// The places in a fixed order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Adds what one path depends on: walks it from the top and follows
    /// symbolic links as the kernel does.
    fn follow_path(&mut self, path: &Path) {
        let Ok(path) = std::path::absolute(path) else {
            return;
        };
        let mut rest: VecDeque<OsString> = path.components().filter_map(step).collect();
        // A directory without a symbolic link in its own path.
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(next) = rest.pop_front() {
            if next == ".." {
                at.pop();
                continue;
            }
            let place = at.join(&next);
            let Ok(metadata) = fs::symlink_metadata(&place) else {
                // Whatever appears here later, it begins with this directory.
                self.add(&at);
                return;
            };
            if metadata.is_symlink() {
                self.add(&at);
                links += 1;
                let Ok(target) = fs::read_link(&place) else {
                    return;
                };
                if links > MAX_LINKS {
                    return;
                }
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                for component in target.components().rev().filter_map(step) {
                    rest.push_front(component);
                }
            } else if metadata.is_dir() {
                at = place;
            } else {
                self.add(&at);
                self.insert(place, &metadata);
                return;
            }
        }
        // The path is a directory: what it holds counts, and so does what
        // becomes of itself.
        self.add(&at);
        if let Some(parent) = at.parent() {
            self.add(parent);
        }
    }

    /// Adds the directories in which the wildcards of a pattern look.
    fn follow_wildcards(&mut self, path: &str) {
        let components: Vec<Component<'_>> = Path::new(path).components().collect();
        for end in 1..components.len() {
            let prefix: PathBuf = components.iter().take(end).collect();
            let Some(prefix) = prefix.to_str().filter(|prefix| is_pattern(prefix)) else {
                continue;
            };
            let Ok(matches) = glob::glob_with(prefix, MATCHING) else {
                return;
            };
            for directory in matches.flatten().filter(|path| path.is_dir()) {
                self.follow_path(&directory);
                if self.0.len() >= MAX_POINTS {
                    return;
                }
            }
        }
    }

    /// Adds a directory.
    fn add(&mut self, directory: &Path) {
        if let Ok(metadata) = fs::metadata(directory) {
            self.insert(directory.to_owned(), &metadata);
        }
    }

    /// Adds a place while there is room.
    fn insert(&mut self, place: PathBuf, metadata: &Metadata) {
        if self.0.len() < MAX_POINTS {
            self.0.insert(place, (metadata.dev(), metadata.ino()));
        }
    }
}

/// The part of a path that a walk from the top takes as a step.
fn step(component: Component<'_>) -> Option<OsString> {
    match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }
}

/// Symbolic links on the way of one path, as Linux has it (`path_resolution`
/// in section 7 of the manual).
const MAX_LINKS: usize = 40;

/// Places that one directive watches; changes beyond are found by the regular
/// look. A user of Linux may watch 8192 places or more.
const MAX_POINTS: usize = 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;
    use crate::paths;
    use crate::paths::Selection;

    #[test]
    fn a_file_is_watched_with_its_directory() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("hosts"), "").unwrap();
        assert_eq!(points(&dir, "hosts"), ["", "hosts"]);
    }

    #[test]
    fn the_last_directory_that_exists_is_watched_for_a_path_to_come() {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        assert_eq!(points(&dir, "a/b/c/hosts"), ["a"]);
    }

    #[test]
    fn each_link_on_the_way_is_watched_where_it_stands() {
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("config/..v1")).unwrap();
        fs::write(dir.path().join("config/..v1/hosts"), "").unwrap();
        symlink("..v1", dir.path().join("config/..data")).unwrap();
        symlink("..data/hosts", dir.path().join("config/hosts")).unwrap();
        symlink(
            dir.path().join("config/hosts"),
            dir.path().join("elsewhere"),
        )
        .unwrap();
        assert_eq!(
            points(&dir, "elsewhere"),
            ["", "config", "config/..v1", "config/..v1/hosts"]
        );
    }

    #[test]
    fn links_that_go_round_end_the_walk() {
        let dir = TempDir::new().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert_eq!(points(&dir, "a"), [""]);
    }

    #[test]
    fn a_pattern_is_watched_wherever_it_can_gain_a_match() {
        let dir = TempDir::new().unwrap();
        for site in ["one", "two"] {
            fs::create_dir(dir.path().join(site)).unwrap();
        }
        fs::write(dir.path().join("one/a.hosts"), "").unwrap();
        assert_eq!(points(&dir, "*/*.hosts"), ["", "one", "one/a.hosts", "two"]);
    }

    /// The places below `dir` that are watched for a path.
    fn points(dir: &TempDir, tail: &str) -> Vec<String> {
        let root = dir.path().canonicalize().unwrap();
        let path = format!("{}/{tail}", root.display());
        let mut points = Points::default();
        points.follow(&path, &paths::list(&path, &Selection::ANY));
        points
            .paths()
            .filter_map(|place| place.strip_prefix(&root).ok())
            .map(|place| place.to_str().unwrap().to_owned())
            .collect()
    }
}
