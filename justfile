# Every check and chore of the project. CI runs `check` by scripts/test.

export RUSTDOCFLAGS := "-D warnings"

# List the recipes.
default:
    @just --list

# Everything that has to pass.
check: fmt clippy doc dist test config deny

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
    find Corefile.example deploy -name 'Corefile*' -print0 | sort -z | xargs -0 -n 1 target/debug/portolan check

# Licences, sources, layering.
deny:
    cargo deny --all-features --workspace check bans licenses sources

# Known vulnerabilities; needs the network.
advisories:
    cargo deny --all-features --workspace check advisories

# Cost of a look-up and of a change; cost of a query beside other servers (docs/performance.md).
bench *arguments:
    cargo bench --locked --bench lookup
    cargo bench --locked --bench queries -- {{ arguments }}

# How servers share names, and what breaks it: bars, medians, worst cases; as root.
bench-cluster *arguments:
    cargo bench --locked --bench cluster -- {{ arguments }}

# What the server takes of the memory under a million names, a thousand connections, large answers and frozen upstreams, beside
# the bar of 50 MB. `--binary PROGRAM` measures another one, such as dist/portolan.
bench-memory *arguments:
    cargo bench --locked --bench memory -- {{ arguments }}

# What the server takes of the memory with 10, 10,000 and 100,000 names. `--binary PROGRAM` measures another one.
bench-resident *arguments:
    cargo bench --locked --bench resident -- {{ arguments }}

# Install peers from Debian, without starting them as services; measure beside them; write docs/peers.md and its plot. A
# CoreDNS binary takes part if PORTOLAN_BENCH_COREDNS names one. `--binary PATH` measures another binary of ours.
bench-peers *arguments:
    scripts/setup peers
    cargo bench --locked --bench queries -- --write docs {{ arguments }}

# The static binary of this machine's architecture, as the image has it: dist/portolan. Relocations are packed: without that
# they take half a megabyte.
dist target=(arch() + "-unknown-linux-musl"):
    PORTOLAN_REVISION="$(git rev-parse --short HEAD)" PORTOLAN_BUILD_TIME="$(date -u +%FT%TZ)" \
        cargo rustc --profile dist --locked --bin portolan --target {{ target }} -- \
        -C link-arg=-Wl,-z,pack-relative-relocs
    mkdir -p dist
    cp target/{{ target }}/dist/portolan dist/portolan

# The image, from a binary that is compiled here. Arguments are docker's: --platform, --build-arg.
image *arguments: dist
    docker build --target prebuilt --tag portolan --build-arg REVISION="$(git rev-parse --short HEAD)" \
        --build-arg BUILD_TIME="$(date -u +%FT%TZ)" {{ arguments }} .

# Fuzz one target, from what was found before and from our own seeds: query, message.
fuzz target seconds="600":
    mkdir -p fuzz/corpus/{{ target }}
    cargo +nightly fuzz run --fuzz-dir fuzz {{ target }} fuzz/corpus/{{ target }} fuzz/seeds/{{ target }} -- \
        -max_len=4096 -max_total_time={{ seconds }}
