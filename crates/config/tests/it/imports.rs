//! Imports of files.

use std::fs;
use std::path::Path;

use portolan_config::Errors;
use portolan_config::Loaded;
use portolan_config::Options;
use portolan_config::load_corefile;

/// Writes files below a new directory.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    directory
}

/// Loads `Corefile` of a directory.
fn load(directory: &Path) -> Result<Loaded, Errors> {
    let path = directory.join("Corefile");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let env = |_: &str| None;
    load_corefile(
        &path.to_string_lossy(),
        &text,
        &Options {
            default_port: None,
            env: &env,
        },
    )
}

#[test]
fn files_are_relative_to_the_file_that_imports_them() {
    let directory = directory(&[
        ("Corefile", "import inc/keys.conf\n"),
        (
            "inc/keys.conf",
            "example.org {\n import deeper/all.conf\n}\n",
        ),
        ("inc/deeper/all.conf", "import one.conf\nwhoami\n"),
        ("inc/deeper/one.conf", "log"),
    ]);
    let loaded = load(directory.path()).expect("accepted");
    let block = loaded.config.blocks.first().expect("a block");
    assert!(block.whoami.is_some());
    assert_eq!(block.log.len(), 1);
    let file = directory.path().join("inc/deeper/one.conf");
    assert_eq!(
        block.log.first().expect("a rule").position.file.as_ref(),
        file.to_string_lossy()
    );
}

#[test]
fn a_pattern_imports_in_the_order_of_names() {
    let directory = directory(&[
        ("Corefile", ". {\n import conf.d/*.conf\n whoami\n}\n"),
        ("conf.d/b.conf", "log b.example"),
        ("conf.d/a.conf", "log a.example"),
        ("conf.d/.c.conf", "log c.example"),
        ("conf.d/ignored.txt", "bogus"),
        ("conf.d/dir.conf/x", "bogus"),
    ]);
    let loaded = load(directory.path()).expect("accepted");
    let block = loaded.config.blocks.first().expect("a block");
    let names: Vec<String> = block
        .log
        .iter()
        .flat_map(|rule| &rule.names)
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["c.example.", "a.example.", "b.example."]);
}

#[test]
fn a_file_may_stand_within_a_block_of_a_directive() {
    let directory = directory(&[
        (
            "Corefile",
            ". {\n hosts /dev/null {\n  import h.txt\n  fallthrough\n }\n}\n",
        ),
        ("h.txt", "192.0.2.1 a b\n# comment\n192.0.2.2 c"),
    ]);
    let loaded = load(directory.path()).expect("accepted");
    let hosts = loaded
        .config
        .blocks
        .first()
        .expect("a block")
        .hosts
        .clone()
        .expect("hosts");
    let lines: Vec<&str> = hosts.inline.iter().map(|line| line.as_str()).collect();
    assert_eq!(lines, ["192.0.2.1 a b", "192.0.2.2 c"]);
}

#[test]
fn a_mistake_has_the_place_in_the_imported_file() {
    let directory = directory(&[
        ("Corefile", ". {\n import inc/bad.conf\n}\n"),
        ("inc/bad.conf", "whoami\nlogg\n"),
    ]);
    let errors = load(directory.path()).expect_err("refused").to_string();
    let bad = directory.path().join("inc/bad.conf");
    let expected = format!(
        "{}:2:1 - Error during parsing: Unknown directive 'logg'",
        bad.display()
    );
    assert!(errors.starts_with(&expected), "{errors}");
}

#[test]
fn files_that_cannot_be_imported_are_told() {
    let directory = directory(&[
        (
            "Corefile",
            ". {\n import sub\n import nope.conf\n import no/*.conf\n}\n",
        ),
        ("sub/x", ""),
    ]);
    let errors = load(directory.path()).expect_err("refused").to_string();
    let sub = directory.path().join("sub");
    assert!(
        errors.contains(&format!(
            "Could not import {}: is a directory",
            sub.display()
        )),
        "{errors}"
    );
    assert!(
        errors.contains("File to import not found: nope.conf"),
        "{errors}"
    );
}

#[test]
fn files_that_import_one_another_end() {
    let directory = directory(&[
        ("Corefile", ". {\n import a.conf\n}\n"),
        ("a.conf", "import b.conf\n"),
        ("b.conf", "import a.conf\n"),
    ]);
    let errors = load(directory.path()).expect_err("refused").to_string();
    assert!(
        errors.contains("maximum file import depth (100000) exceeded"),
        "{errors}"
    );
}

#[test]
fn octets_that_are_no_text_do_no_harm_in_a_comment() {
    let directory = directory(&[("Corefile", ". {\n import latin1.conf\n}\n")]);
    fs::write(directory.path().join("latin1.conf"), b"# caf\xe9\nwhoami\n").expect("a file");
    assert!(load(directory.path()).is_ok());
}
