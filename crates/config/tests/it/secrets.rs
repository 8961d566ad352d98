//! The secrets of a cluster: where they come from, how they change, and that
//! nothing shows them.

use std::fs;
use std::path::Path;

use portolan_config::ClusterSecret;
use portolan_config::Loaded;

use crate::support::load_with;

/// Secrets that must not be seen anywhere.
const KEY: &str = "0123456789abcdef";

/// Another one.
const OTHER: &str = "fedcba9876543210fedcba98";

/// Loads a `docker-cluster` at 2:2 with lines that begin at 3:1.
fn with(lines: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let text = format!(". {{\n docker-cluster {{\n{lines}\n }}\n}}\n");
    load_with(&text, variables)
}

/// The secrets of a configuration without mistakes.
fn secrets(loaded: &Loaded) -> Vec<ClusterSecret> {
    let block = loaded.config.blocks.first().expect("a block");
    let docker = block.docker_cluster.as_ref().expect("docker-cluster");
    docker.cluster.secrets.clone()
}

/// A directory with a file of this content, and the file's path.
fn file(content: impl AsRef<[u8]>) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    fs::write(&path, content).expect("written");
    let path = path.to_str().expect("text").to_owned();
    (directory, path)
}

/// A key of this text.
fn key(text: &str) -> ClusterSecret {
    ClusterSecret::Key(text.as_bytes().to_vec())
}

/// A passphrase.
fn phrase(text: &str) -> ClusterSecret {
    ClusterSecret::Passphrase(text.to_owned())
}

#[test]
fn a_secret_comes_from_the_variable() {
    for (value, expected) in [
        (KEY, key(KEY)),
        (OTHER, key(OTHER)),
        ("passphrase:horse battery", phrase("horse battery")),
    ] {
        let loaded = with("", &[("CLUSTER_SECRET", value)]).expect("accepted");
        assert_eq!(secrets(&loaded), [expected]);
    }
}

#[test]
fn a_secret_of_another_length_is_refused_with_the_remedies() {
    let errors = with("", &[("CLUSTER_SECRET", "your-shared-secret-key")]).expect_err("refused");
    assert_eq!(
        errors,
        "plugin/docker-cluster: Corefile:2:2 - Error during parsing: invalid CLUSTER_SECRET env \
         var: 22 octets long, must be 16, 24 or 32 (or write passphrase:TEXT, or name a file in \
         CLUSTER_SECRET_FILE)"
    );
    let errors = with("", &[("CLUSTER_SECRET", "passphrase:horse")]).expect_err("refused");
    assert!(
        errors.contains("the passphrase is 5 octets long, must be at least 8"),
        "{errors}"
    );
    assert!(!errors.contains("horse"), "{errors}");
}

#[test]
fn secrets_come_from_a_file_first_line_first() {
    let content = format!("{KEY}\r\n\nold and long enough\npassphrase:{OTHER}\n");
    let (_directory, path) = file(content);
    let expected = [key(KEY), phrase("old and long enough"), phrase(OTHER)];
    let variable = with("", &[("CLUSTER_SECRET_FILE", &path)]).expect("accepted");
    assert_eq!(secrets(&variable), expected);
    let property = with(&format!("cluster_secret_file {path}"), &[]).expect("accepted");
    assert_eq!(secrets(&property), expected);
}

#[test]
fn the_environment_beats_the_property() {
    let (_directory, path) = file(OTHER);
    // The file of the property is not even looked at.
    let lines = "cluster_secret_file /nowhere";
    let loaded = with(lines, &[("CLUSTER_SECRET", KEY)]).expect("accepted");
    assert_eq!(secrets(&loaded), [key(KEY)]);
    let loaded = with(lines, &[("CLUSTER_SECRET_FILE", &path)]).expect("accepted");
    assert_eq!(secrets(&loaded), [key(OTHER)]);
    let lines = format!("cluster_secret_file {path}");
    let empty = [("CLUSTER_SECRET", ""), ("CLUSTER_SECRET_FILE", "")];
    let loaded = with(&lines, &empty).expect("accepted");
    assert_eq!(secrets(&loaded), [key(OTHER)]);
}

#[test]
fn both_variables_are_an_error() {
    let (_directory, path) = file(OTHER);
    let both = [("CLUSTER_SECRET", KEY), ("CLUSTER_SECRET_FILE", &path)];
    assert_eq!(
        with("", &both).expect_err("refused"),
        "plugin/docker-cluster: Corefile:2:2 - Error during parsing: CLUSTER_SECRET and \
         CLUSTER_SECRET_FILE are both set: unset one of them"
    );
}

#[test]
fn the_last_of_several_properties_counts() {
    let (_directory, path) = file(KEY);
    let lines = format!("cluster_secret_file /nowhere\ncluster_secret_file {path}");
    assert_eq!(secrets(&with(&lines, &[]).expect("accepted")), [key(KEY)]);
}

#[test]
fn a_bad_file_is_named_with_the_remedy() {
    let rule = "one secret a line, a key of 16, 24 or 32 octets or a passphrase of at least 8";
    let many = "many enough\n".repeat(17);
    for (content, problem) in [
        (&b""[..], format!("there is no secret in it: {rule}")),
        (b"\n\r\n", format!("there is no secret in it: {rule}")),
        (b"\nshort\n", format!("line 2: 5 octets long: {rule}")),
        (
            b"passphrase:short",
            format!("line 1: the passphrase is 5 octets long, must be at least 8: {rule}"),
        ),
        (
            b"0123456789abcdef\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            format!("line 2: 9 octets that are neither a key nor UTF-8 text: {rule}"),
        ),
        (
            many.as_bytes(),
            "more than 16 secrets: remove those that no member uses any more".to_owned(),
        ),
        (&[b'x'; 65_537], "larger than 65536 octets".to_owned()),
    ] {
        let (_directory, path) = file(content);
        let errors = with("", &[("CLUSTER_SECRET_FILE", &path)]).expect_err(&problem);
        let expected = format!(
            "plugin/docker-cluster: Corefile:2:2 - Error during parsing: \
             invalid CLUSTER_SECRET_FILE env var: {path}: {problem}"
        );
        assert_eq!(errors, expected);
        let errors = with(&format!("cluster_secret_file {path}"), &[]).expect_err(&problem);
        let expected = format!(
            "plugin/docker-cluster: Corefile:3:21 - Error during parsing: \
             invalid cluster_secret_file: {path}: {problem}"
        );
        assert_eq!(errors, expected);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_remedy() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("missing");
    for (path, problem) in [
        (missing.as_path(), "cannot read it: No such file"),
        (directory.path(), "not a regular file"),
        (Path::new("/dev/zero"), "not a regular file"),
    ] {
        let path = path.to_str().expect("text");
        let errors = with("", &[("CLUSTER_SECRET_FILE", path)]).expect_err(path);
        let expected = format!("invalid CLUSTER_SECRET_FILE env var: {path}: {problem}");
        assert!(errors.contains(&expected), "{errors}\n{expected}");
    }
    let missing = missing.to_str().expect("text");
    let errors = with("", &[("CLUSTER_SECRET_FILE", missing)]).expect_err("refused");
    assert!(
        errors.ends_with("(it must be there and readable for this server's user)"),
        "{errors}"
    );
}

#[test]
fn a_secret_in_the_file_is_refused_with_the_remedies() {
    let errors = with(&format!("cluster_secret {KEY}"), &[]).expect_err("refused");
    assert_eq!(
        errors,
        "plugin/docker-cluster: Corefile:3:1 - Error during parsing: cluster_secret does not \
         belong in a file: set the environment variable CLUSTER_SECRET, or name a file in \
         cluster_secret_file"
    );
}

#[test]
fn the_digest_follows_the_contents_of_the_file() {
    let (_directory, path) = file(KEY);
    let digest = || {
        let loaded = with("", &[("CLUSTER_SECRET_FILE", &path)]).expect("accepted");
        loaded.config.digest
    };
    let first = digest();
    assert_eq!(first.len(), 128);
    assert_eq!(first, digest());
    for same in [format!("{KEY}\n"), format!("\r\n{KEY}\r\n\n")] {
        fs::write(&path, &same).expect("written");
        assert_eq!(first, digest(), "{same:?}");
    }
    let mut seen = vec![first];
    for other in [
        OTHER.to_owned(),
        format!("passphrase:{KEY}"),
        format!("{KEY}\n{OTHER}"),
        format!("{OTHER}\n{KEY}"),
    ] {
        fs::write(&path, &other).expect("written");
        let digest = digest();
        assert!(!seen.contains(&digest), "{other:?}");
        seen.push(digest);
    }
    let plain = with("", &[]).expect("accepted").config.digest;
    assert!(!seen.contains(&plain));
}

#[test]
fn the_digest_tells_in_which_block_secrets_changed() {
    let ((_one, one), (_two, two)) = (file(KEY), file(OTHER));
    let block = |port: u16, path: &str| {
        format!(".:{port} {{\n docker-cluster {{\n cluster_secret_file {path}\n }}\n}}\n")
    };
    let text = format!("{}{}", block(54, &one), block(55, &two));
    let digest = || load_with(&text, &[]).expect("accepted").config.digest;
    let before = digest();
    fs::write(&one, OTHER).expect("written");
    fs::write(&two, KEY).expect("written");
    assert_ne!(before, digest());
    fs::write(&one, KEY).expect("written");
    fs::write(&two, OTHER).expect("written");
    assert_eq!(before, digest());
}

#[test]
fn nothing_shows_a_secret() {
    let words = "horse battery staple";
    let (_directory, path) = file(format!("{KEY}\n{OTHER}\n{words}\nshort"));
    let errors = with("", &[("CLUSTER_SECRET_FILE", &path)]).expect_err("refused");
    let (_directory, path) = file(format!("{KEY}\n{OTHER}\n{words}"));
    let loaded = with("cluster_enabled true", &[("CLUSTER_SECRET_FILE", &path)]);
    let loaded = loaded.expect("accepted");
    assert_eq!(secrets(&loaded).len(), 3);
    let shown = format!("{loaded:?}");
    assert!(shown.contains("secrets: [Key(…), Key(…), Passphrase(…)]"));
    for secret in [KEY, OTHER, words, "short"] {
        assert!(!errors.replace(&path, "").contains(secret), "{errors}");
        assert!(!shown.contains(secret), "{shown}");
        // Octets as numbers would show it as well.
        let numbers = format!("{:?}", secret.as_bytes());
        assert!(!shown.contains(numbers.trim_matches(['[', ']'])));
    }
}
