# Every check and chore of the project. CI runs `check` by scripts/test.

export RUSTDOCFLAGS := "-D warnings"

# List the recipes.
default:
    @just --list

# Everything that has to pass.
check: fmt clippy doc test config deny

# The sources are formatted.
fmt:
    cargo fmt --all --check

# No lint speaks up.
clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The documentation builds, private items too.
doc:
    cargo doc --workspace --no-deps --document-private-items --locked

# Unit tests, integration tests, documentation tests.
test:
    cargo test --workspace --doc --locked
    cargo nextest run --workspace --locked

# The binary accepts every configuration that we ship.
config:
    cargo build --locked
    target/debug/portolan check Corefile.example

# Licences, sources, layering.
deny:
    cargo deny --all-features --workspace check bans licenses sources

# Known vulnerabilities; needs the network.
advisories:
    cargo deny --all-features --workspace check advisories

# Cost of a look-up and of a change; queries a second beside other servers (docs/performance.md).
bench *arguments:
    cargo bench --locked --bench lookup
    cargo bench --locked --bench queries -- {{ arguments }}

# Fuzz one target: query, message.
fuzz target:
    cargo +nightly fuzz run --fuzz-dir fuzz {{ target }}
