#!/bin/sh
# Makes the image that tests build Parlor's image `full` on: a Debian from its own mirror, once per machine, so that no
# registry of images is needed.
set -eu
cd "$(dirname "$0")/.."
. scripts/lib.sh
engine=${PARLOR_TEST_ENGINE:-docker}
image=parlor-test-base:bookworm
if "$engine" image inspect "$image" >/dev/null 2>&1; then exit 0; fi
install_packages debootstrap
folder=$(mktemp -d /var/tmp/parlor-base.XXXXXX)
trap 'as_root rm -rf --one-file-system "$folder"' EXIT
say "Making $image from Debian's packages"
as_root debootstrap --variant=minbase bookworm "$folder" http://deb.debian.org/debian >"$folder.log" 2>&1 || {
    tail -n 20 "$folder.log" >&2
    die "debootstrap failed, see $folder.log"
}
as_root rm -rf "$folder.log" "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/*
as_root tar -C "$folder" -c . | "$engine" import --change 'CMD ["bash"]' - "$image" >/dev/null
