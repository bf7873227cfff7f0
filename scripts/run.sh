#!/bin/sh
# From a fresh checkout to a conversation: sets up, builds, makes the agent image, and talks to the main group.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh run
. scripts/lib.sh

say "Building parlor (the first time takes a few minutes)"
as_caller cargo build --release --locked
parlor=$PWD/target/release/parlor

# Under sudo the host runs as the calling user wherever that works, so that its files are theirs.
run=
if [ -n "$caller" ]; then
    if as_caller docker version >/dev/null 2>&1 || as_caller podman info >/dev/null 2>&1; then
        run=as_caller
    elif docker_answers && [ -S /var/run/docker.sock ]; then
        # Whoever may use sudo may use docker, also before a login that knows of a new group.
        run=as_caller_with_docker
    fi
fi
$run "$parlor" image build
if [ -t 0 ]; then
    $run "$parlor" chat
    exit
fi
text=$(cat)
if [ -z "$text" ]; then
    say "There is no terminal and nothing to read: saying hello for you. Talk on with: $parlor chat"
    text=hello
fi
printf '%s\n' "$text" | $run "$parlor" chat
