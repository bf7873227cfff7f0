#!/bin/sh
# Installs and starts what is missing: `setup.sh run` for a host, `setup.sh test` for the tests. Does nothing, and needs
# no network, when nothing is missing.
set -eu
cd "$(dirname "$0")/.."
. scripts/lib.sh

engine_for_run() {
    if docker_answers || own_docker_answers; then return 0; fi
    if podman_answers; then
        have_init || install_packages catatonit
        return 0
    fi
    if have docker; then
        start_docker
        docker_answers && return 0
        die "docker runs, but $(id -un) may not use it. Either: sudo usermod -aG docker $(id -un), and log in again. Or: sudo make run"
    fi
    if is_root; then
        # shellcheck disable=SC2046
        install_packages $(docker_packages)
        start_docker
    else
        # Without root podman is the better one: no daemon, and no group that amounts to root.
        # shellcheck disable=SC2046
        install_packages $(podman_packages)
        podman_answers || die "podman is installed but does not answer: see podman info"
    fi
}

# The user for tests of rootless engines.
rootless_user() {
    user=$test_user
    if ! id "$user" >/dev/null 2>&1; then
        ask "The tests of rootless engines need a user without rights; $user will be added"
        useradd --create-home --shell /bin/sh "$user"
    fi
    for kind in uid gid; do
        if ! grep -q "^$user:" "/etc/sub$kind" 2>/dev/null; then
            usermod "--add-sub${kind}s" 362144-427679 "$user"
        fi
    done
    uid=$(id -u "$user")
    if [ ! -d "/run/user/$uid" ]; then
        mkdir -p "/run/user/$uid"
        chown "$user" "/run/user/$uid"
        chmod 700 "/run/user/$uid"
    fi
    if [ -c /dev/net/tun ] && [ "$(stat -c %a /dev/net/tun)" != 666 ]; then
        say "Opening /dev/net/tun to all users, as udev does: rootless networks need it."
        chmod 666 /dev/net/tun || say "That failed; rootless networks are not tested."
    fi
}

engines_for_tests() {
    if ! is_root && ! have sudo; then
        # Nothing can be installed or started; what answers is tested.
        docker_answers || { podman_answers && have_init; } || die "neither docker nor podman (with catatonit) answers, and there is no root and no sudo to set one up"
        say "Without root and sudo: testing with the engines that answer."
        return 0
    fi
    packages=
    have docker && have dockerd || docker_answers || packages="$packages $(docker_packages)"
    have podman && have_init && have runc && have newuidmap && have slirp4netns || packages="$packages $(podman_packages)"
    have setpriv && have unshare || packages="$packages util-linux"
    if is_root && have apt-get; then
        have rootlesskit || have docker-rootlesskit || packages="$packages rootlesskit"
        [ -x /lib/systemd/systemd ] || packages="$packages systemd"
    fi
    # shellcheck disable=SC2086
    install_packages $packages
    start_docker
    if is_root; then
        rootless_user
        start_rootless_docker
    fi
}

check_rust
case ${1:-run} in
    run)
        # shellcheck disable=SC2046
        install_packages $(missing_base)
        engine_for_run
        ;;
    test)
        # shellcheck disable=SC2046
        install_packages $(missing_base)
        engines_for_tests
        ;;
    *) die "usage: $0 run|test" ;;
esac
