//! Loading with an environment of the test's own.

use portolan_config::Config;
use portolan_config::Loaded;
use portolan_config::Options;
use portolan_config::ServerBlock;
use portolan_config::load_corefile;

/// Loads a Corefile with variables; gives the errors as text.
pub(crate) fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let env = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let options = Options {
        default_port: None,
        env: &env,
    };
    load_corefile("Corefile", text, &options).map_err(|errors| errors.to_string())
}

/// Loads a Corefile in an empty environment.
pub(crate) fn load(text: &str) -> Result<Loaded, String> {
    load_with(text, &[])
}

/// The configuration of a Corefile without mistakes.
pub(crate) fn config(text: &str) -> Config {
    load(text)
        .unwrap_or_else(|errors| panic!("{text}\n{errors}"))
        .config
}

/// The only block of a Corefile without mistakes.
pub(crate) fn block(text: &str) -> ServerBlock {
    let mut blocks = config(text).blocks;
    assert_eq!(blocks.len(), 1, "{text}");
    blocks.remove(0).value
}

/// The block of a Corefile that has this one stanza in the root zone.
pub(crate) fn stanza(stanza: &str) -> ServerBlock {
    block(&in_root(stanza))
}

/// A Corefile with one stanza, `;` standing for the end of a line.
pub(crate) fn in_root(stanza: &str) -> String {
    format!(
        ". {{\n{}\n}}\n",
        stanza
            .replace(" ; ", "\n")
            .replace("{ ", "{\n")
            .replace(" }", "\n}")
    )
}

/// Checks that a Corefile is refused with each fragment in its errors.
pub(crate) fn assert_refused(text: &str, fragments: &[&str]) {
    match load(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(errors) => {
            for fragment in fragments {
                assert!(
                    errors.contains(fragment),
                    "{text}\nlacks {fragment:?}:\n{errors}"
                );
            }
        }
    }
}

/// Checks that a Corefile is accepted with each fragment in its warnings.
pub(crate) fn assert_warned(text: &str, fragments: &[&str]) {
    let loaded = load(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    let warnings = warnings.join("\n");
    for fragment in fragments {
        assert!(
            warnings.contains(fragment),
            "{text}\nlacks {fragment:?}:\n{warnings}"
        );
    }
}
