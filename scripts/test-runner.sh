#!/bin/sh
# Tests the program in the container, whose parts are behind a feature. Arguments go to `cargo test`.
set -eu
cd "$(dirname "$0")/.."
target=$(rustc -vV | sed -n 's/^host: //p')
# As build.rs and scripts/build-test-agent.sh build it: all share their libraries.
CARGO_ENCODED_RUSTFLAGS=-Ctarget-feature=+crt-static exec cargo test --locked --package parlor-agent-runner \
    --features runner --profile runner-dev --target "$target" --target-dir target/parlor-runner "$@"
