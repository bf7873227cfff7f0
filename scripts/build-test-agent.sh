#!/bin/sh
# Builds the scripted agent of the tests as a static program, in the folder where tests look for it.
set -eu
cd "$(dirname "$0")/.."
. scripts/lib.sh
target=${1:-$(as_caller rustc -vV | sed -n 's/^host: //p')}
# The folder and the profile of the runner's build in `cargo test`: both share their libraries.
as_caller env CARGO_ENCODED_RUSTFLAGS=-Ctarget-feature=+crt-static cargo build --locked --package parlor-test-agent \
    --profile runner-dev --target "$target" --target-dir target/parlor-runner
