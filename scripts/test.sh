#!/bin/sh
# Everything a change must pass: formatting, lints, and all tests against every container engine of the machine.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh test
. scripts/lib.sh

as_caller cargo fmt --version >/dev/null 2>&1 && as_caller cargo clippy --version >/dev/null 2>&1 || {
    have rustup || die "cargo fmt or cargo clippy is missing: install Rust's components rustfmt and clippy"
    say "Adding Rust's rustfmt and clippy"
    as_caller rustup component add rustfmt clippy
}
if ! as_caller cargo fetch --locked --target "$(as_caller rustc -vV | sed -n 's/^host: //p')" >/dev/null 2>&1; then
    say "The crates registry cannot be reached; building with what is there."
    CARGO_NET_OFFLINE=true
    export CARGO_NET_OFFLINE
fi

if [ -n "$caller" ]; then
    # The tests run as root, what they leave in target/ is handed back.
    trap 'chown -R "$caller" target' EXIT
    CARGO_HOME=${CARGO_HOME:-$(caller_home)/.cargo} RUSTUP_HOME=${RUSTUP_HOME:-$(caller_home)/.rustup}
    export CARGO_HOME RUSTUP_HOME
fi

# An engine that is set up must be tested, not skipped.
engines=
if docker_answers; then engines=docker; fi
if is_root; then
    engines=$engines,podman,podman-rootless
    if rootless_docker_script >/dev/null; then engines=$engines,docker-rootless; fi
elif podman_answers && have_init; then
    engines=$engines,podman-rootless
fi
PARLOR_TEST_ENGINES=${PARLOR_TEST_ENGINES:-$engines}
export PARLOR_TEST_ENGINES
say "Testing with: $PARLOR_TEST_ENGINES"

# Tests wait for rooms and timers about as long as they compute.
RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}
export RUST_TEST_THREADS

scripts/build-test-agent.sh
scripts/build-test-base.sh
as_caller cargo fmt --all --check
as_caller cargo clippy --locked --workspace --all-targets -- -D warnings
as_caller cargo test --locked --workspace --no-run
cargo test --locked --workspace
