# Shared by the scripts beside it; POSIX sh. To be sourced with the repository as working folder.

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }
me() { id -un 2>/dev/null || id -u; }

# The user behind sudo, when there is one: what is built belongs to that user.
caller=
if is_root && [ -n "${SUDO_USER:-}" ] && [ "${SUDO_UID:-0}" != 0 ]; then
    caller=$SUDO_USER
fi
caller_home() { awk -F: -v user="$caller" '$1 == user { print $6 }' /etc/passwd; }

# sudo and login shells leave cargo's folder out of PATH, those of ordinary users the system's tools.
for dir in /usr/sbin /sbin "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin" ${caller:+"$(caller_home)/.cargo/bin"}; do
    case ":$PATH:" in
        *":$dir:"*) ;;
        *) [ ! -d "$dir" ] || PATH="$PATH:$dir" ;;
    esac
done
export PATH

# Runs a command as the user behind sudo, else as is.
as_caller() {
    if [ -n "$caller" ]; then
        # shellcheck disable=SC2086
        sudo -u "$caller" env HOME="$(caller_home)" PATH="$PATH" ${CARGO_NET_OFFLINE:+CARGO_NET_OFFLINE=$CARGO_NET_OFFLINE} \
            ${YES:+YES=$YES} "$@"
    else
        "$@"
    fi
}

# The same with the group that docker's socket belongs to: who may use sudo may use docker, also before a login that knows
# of a new group.
as_caller_with_docker() {
    user=${caller:-$(me)}
    home=${HOME:-/}
    [ -z "$caller" ] || home=$(caller_home)
    groups=$(id -G "$user" | tr ' ' ','),$(stat -c %g /var/run/docker.sock)
    as_root setpriv --reuid "$(id -u "$user")" --regid "$(id -g "$user")" --groups "$groups" \
        env HOME="$home" USER="$user" TERM="${TERM:-dumb}" PATH="$PATH" ${PARLOR_HOME:+"PARLOR_HOME=$PARLOR_HOME"} "$@"
}

as_root() {
    if is_root; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo. As root, run: $*"
    fi
}

# Asks before something is installed or started. YES=1 and a run without a terminal go on, and say so.
ask() {
    if [ "${YES:-}" = 1 ] || [ ! -t 0 ]; then
        say "$1: going on without asking (YES=1, or no terminal)."
        return 0
    fi
    printf '%s. Go on? [Y/n] ' "$1" >&2
    read -r answer || answer=n
    case $answer in
        '' | [Yy]*) ;;
        *) die "stopped, nothing was changed" ;;
    esac
}

# Whether a process of this name and user id runs; minimal systems have no pgrep. One that ended and that nobody waited
# for does not.
runs_as() {
    for stat in /proc/[0-9]*/stat; do
        name=
        { read -r _ name state _ <"$stat"; } 2>/dev/null || continue
        [ "$name" = "($2)" ] && [ "$state" != Z ] || continue
        [ "$(awk '$1 == "Uid:" { print $3 }' "${stat%stat}status" 2>/dev/null)" != "$1" ] || return 0
    done
    return 1
}
# Root's; rootless docker has daemons of the same name.
runs() { runs_as 0 "$1"; }

apt_updated=
known_package() { apt-cache show "$1" >/dev/null 2>&1; }

# Where apt's last words are kept while it works, and after it failed.
apt_log=

# Runs apt for everybody to see, and keeps what it says. A pipe has the status of its end, so a file tells of success.
run_apt() {
    apt_log=$(mktemp)
    { as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@" 2>&1 && echo >"$apt_log.done"; } | tee "$apt_log" >&2
    [ -e "$apt_log.done" ] || return 1
    rm -f "$apt_log" "$apt_log.done"
    apt_log=
}

# Installs packages with apt; elsewhere says what is needed. One that ends with a question mark is left out where the
# system has no such package. Returns 1 when something could not be installed.
install_packages() {
    [ $# -gt 0 ] || return 0
    names=$(printf '%s ' "$@" | sed 's/[^ ]*? *//g; s/ $//')
    if ! have apt-get; then
        say "error: these are missing (Debian's package names): $names. Install them with your system's package manager and try again."
        return 1
    fi
    if ! is_root && ! have sudo; then
        say "error: these packages are missing: $names. There is no sudo: as root, run: apt-get update && apt-get install -y --no-install-recommends $names"
        return 1
    fi
    ask "These packages are needed and will be installed with apt: $names"
    if [ -z "$apt_updated" ]; then
        run_apt update -q || say "apt-get update failed; trying with what it knows."
        apt_updated=1
    fi
    wanted=
    for package in "$@"; do
        case $package in
            *\?) ! known_package "${package%?}" || wanted="$wanted ${package%?}" ;;
            *)
                if known_package "$package"; then
                    wanted="$wanted $package"
                else
                    say "$package is not known to this system's apt; going on without it."
                fi
                ;;
        esac
    done
    [ -n "$wanted" ] || { say "error: this system's apt knows none of: $names"; return 1; }
    # shellcheck disable=SC2086
    run_apt install -y -q --no-install-recommends $wanted || { say "error: apt could not install:$wanted"; return 1; }
}

check_rust() {
    needed=$(sed -n 's/^rust-version = "\([0-9.]*\)"$/\1/p' Cargo.toml)
    how="Get a current Rust from https://rustup.rs: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    if ! have cargo || ! as_caller rustc --version >/dev/null 2>&1; then
        die "there is no Rust. $how"
    fi
    found=$(as_caller rustc --version | sed 's/^rustc \([0-9]*\.[0-9]*\).*/\1/')
    oldest=$(printf '%s\n%s\n' "$needed" "$found" | sort -t. -k1,1n -k2,2n | head -n 1)
    if [ "$oldest" != "$needed" ]; then
        die "Rust $found is too old, $needed or newer is needed. With rustup: rustup update stable. $how"
    fi
}

# Prints the path of a busybox that runs in an empty container.
static_busybox() {
    for file in /bin/busybox /usr/bin/busybox; do
        if [ -x "$file" ]; then
            ldd "$file" 2>&1 | grep -q -e 'not a dynamic' -e 'statically linked' && echo "$file" && return 0
        fi
    done
    return 1
}

# What a build and the agent image need, as package names.
missing_base() {
    have cc || printf 'gcc '
    ls /usr/lib/libc.a /usr/lib/*/libc.a /usr/lib64/libc.a 2>/dev/null | grep -q . || printf 'libc6-dev '
    static_busybox >/dev/null || printf 'busybox-static '
    [ -e /usr/share/zoneinfo/Etc/UTC ] || printf 'tzdata '
    [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] || printf 'ca-certificates '
}

docker_answers() { have docker && timeout 20 docker version >/dev/null 2>&1; }

# The user without rights for tests of rootless engines.
test_user=parlor-test
as_test_user() {
    home=$(awk -F: -v user="$test_user" '$1 == user { print $6 }' /etc/passwd)
    setpriv --reuid "$(id -u "$test_user")" --regid "$(id -g "$test_user")" --clear-groups \
        env -i --chdir=/ HOME="$home" XDG_RUNTIME_DIR="/run/user/$(id -u "$test_user")" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
rootless_docker_answers() {
    as_test_user timeout 20 docker --host "unix:///run/user/$(id -u "$test_user")/docker.sock" version >/dev/null 2>&1
}
# What starts a rootless docker; nothing where a part of it is missing.
rootless_docker_script() {
    have rootlesskit || have docker-rootlesskit || return 1
    for file in /usr/bin/dockerd-rootless.sh /usr/share/docker.io/contrib/dockerd-rootless.sh; do
        [ ! -x "$file" ] || { printf '%s' "$file"; return 0; }
    done
    return 1
}

# What podman puts into containers as their init.
have_init() { [ -x /usr/libexec/podman/catatonit ] || [ -x /usr/lib/podman/catatonit ] || have catatonit; }
podman_answers() { have podman && timeout 30 podman info >/dev/null 2>&1; }

# Starts a docker of the test user's own. It shares nothing with root's: neither daemon, socket, network nor folders.
start_rootless_docker() {
    ! rootless_docker_answers || return 0
    script=$(rootless_docker_script) || {
        say "This system has no dockerd-rootless.sh or no rootlesskit; rootless docker is not tested."
        return 0
    }
    uid=$(id -u "$test_user")
    log=/var/log/dockerd-rootless.log
    if ! runs_as "$uid" dockerd; then
        say "Starting rootless docker as $test_user"
        # A daemon that was killed leaves it, and its number may be another process's by now.
        rm -f "/run/user/$uid/docker.pid"
        as_test_user setsid --fork "$script" >>"$log" 2>&1 </dev/null
    fi
    for try in $(seq 120); do
        if rootless_docker_answers; then return 0; fi
        [ "$try" -le 20 ] || runs_as "$uid" dockerd || break
        sleep 0.5
    done
    # The tests that need it will fail, the others tell what they tell.
    say "Rootless docker does not answer: see $log"
    tail -n 5 "$log" >&2 || true
}

