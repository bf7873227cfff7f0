#!/bin/sh
# Makes the image whose containers are the machines that scripts/ are tried on: a Debian with what a build needs, an
# administrator, a plain user, and the packages of both engines at hand but not installed. Once per machine.
set -eu
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/engine.sh
image=parlor-test-machine:bookworm
if docker image inspect "$image" >/dev/null 2>&1; then exit 0; fi
PARLOR_TEST_ENGINE=docker scripts/build-test-base.sh
say "Making $image from Debian's packages"
log=$(mktemp)
docker build -t "$image" - >"$log" 2>&1 <<EOF || { tail -n 20 "$log" >&2; die "the image could not be built, see $log"; }
FROM parlor-test-base:bookworm
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/fast && apt-get update -q && export DEBIAN_FRONTEND=noninteractive \\
 && apt-get install -y -q --no-install-recommends gcc libc6-dev busybox-static tzdata ca-certificates sudo \\
 && apt-get install -y -q --no-install-recommends --download-only docker.io iptables $(podman_packages) \\
 && useradd --create-home --shell /bin/sh plain && useradd --create-home --shell /bin/sh admin \\
 && echo 'admin ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/admin
EOF
rm -f "$log"
