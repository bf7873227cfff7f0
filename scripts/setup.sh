#!/bin/sh
# Installs and starts what is missing: `setup.sh run` for a host, `setup.sh test` for the tests. Does nothing, and needs
# no network, when nothing is missing. `run` prints the engine to use, as scripts/plan.sh names it.
set -eu
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/engine.sh

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
    look_at_machine
    start_docker || {
        tried=start-docker base_missing=
        look_at_engines
        engine_stop stop-broken
    }
    if is_root; then
        rootless_user
        start_rootless_docker
    fi
}

# What holds the running API against its document, in an environment of the build's own.
python_tools() {
    wanted=tests/requirements.txt place=target/python
    if cmp -s "$wanted" "$place/requirements.txt" && "$place/bin/python3" -c 'import schemathesis' 2>/dev/null; then
        return 0
    fi
    have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3 python3-venv
    say "Installing schemathesis into $place with pip"
    rm -rf "$place"
    as_caller mkdir -p target
    as_caller python3 -m venv "$place"
    as_caller "$place/bin/python3" -m pip install --quiet --disable-pip-version-check --requirement "$wanted" ||
        die "pip could not install what the tests need from PyPI: $wanted has the list"
    as_caller cp "$wanted" "$place/requirements.txt"
}

check_rust
case ${1:-run} in
    run)
        base_missing=$(missing_base)
        look_at_machine
        if [ "$rights" != none ]; then
            # shellcheck disable=SC2086
            install_packages $base_missing
            base_missing=
        fi
        engine=$(find_engine)
        # Only root can add them; all that is missing was to be said at once.
        # shellcheck disable=SC2086
        [ -z "$base_missing" ] || install_packages $base_missing
        printf '%s\n' "$engine"
        ;;
    test)
        # shellcheck disable=SC2046
        install_packages $(missing_base)
        engines_for_tests
        python_tools
        ;;
    *) die "usage: $0 run|test" ;;
esac
