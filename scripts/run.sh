#!/bin/sh
# From a fresh checkout to a conversation: sets up, builds, makes the agent image, and talks to the main group. The
# installation is where Parlor puts it by itself, outside this checkout.
set -eu
cd "$(dirname "$0")/.."
engine=$(scripts/setup.sh run)
. scripts/lib.sh
. scripts/engine.sh

say "Building parlor (the first time takes a few minutes)"
# Here, whatever folder the caller keeps for builds: the program is started from it.
as_caller cargo build --release --locked --target-dir target
parlor=$PWD/target/release/parlor

# Under sudo the host runs as the calling user wherever that works, so that its files are theirs.
run=
case $engine in
    use-docker)
        if [ -n "$caller" ]; then
            run=as_caller
            as_caller docker version >/dev/null 2>&1 || run=as_caller_with_docker
            [ -S /var/run/docker.sock ] || run=
        fi
        ;;
    use-docker-by-sudo)
        run=as_caller_with_docker
        say "Docker does not let $(me) in, so Parlor is given docker's group through sudo. For good: sudo usermod -aG docker $(me), and log in again."
        ;;
    use-own) export DOCKER_HOST="unix://$(own_socket)" ;;
    use-podman)
        export CONTAINER_RUNTIME="${CONTAINER_RUNTIME:-podman}"
        if [ -n "$caller" ] && as_caller podman info >/dev/null 2>&1; then
            run="as_caller env CONTAINER_RUNTIME=$CONTAINER_RUNTIME"
        fi
        ;;
esac
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
