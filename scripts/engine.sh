# Container engines: what is here, and what each step of scripts/plan.sh does. POSIX sh, to be sourced after lib.sh.
. scripts/plan.sh

docker_log=/var/log/dockerd.log

# Where the first host of this user would live, and so what rooms have to see.
parlor_home() {
    if [ -n "$caller" ]; then
        printf '%s' "$(caller_home)/.local/share/parlor"
    else
        printf '%s' "${PARLOR_HOME:-${HOME:-/root}/.local/share/parlor}"
    fi
}

# --- Facts ---------------------------------------------------------------------------------------------------------

look_at_machine() {
    rights=none
    if is_root; then
        rights=root
    elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        # One that asks for a password needs somebody to type it.
        rights=sudo
    fi
    packages=none
    ! have apt-get || packages=apt
    systemd=no
    [ ! -d /run/systemd/system ] || systemd=yes
}

look_at_engines() {
    look_at_docker
    look_at_own_docker
    look_at_podman
}

# $docker, and in $docker_says what came back.
look_at_docker() {
    docker=none docker_says=
    have docker || return 0
    if docker_says=$(timeout 20 docker version 2>&1); then
        look_through docker docker
        return 0
    fi
    context=${DOCKER_CONTEXT:-$(sed -n 's/.*"currentContext": *"\([^"]*\)".*/\1/p' "${HOME:-/root}/.docker/config.json" 2>/dev/null || true)}
    case ${DOCKER_HOST:-} in
        '' | unix:///var/run/docker.sock | unix:///run/docker.sock) ;;
        *) docker=elsewhere; return 0 ;;
    esac
    case ${context:-default} in
        default) ;;
        *)
            docker=leftover
            case $docker_says in *tcp://* | *ssh://* | *http://* | *https://*) docker=elsewhere ;; esac
            return 0
            ;;
    esac
    case $docker_says in *'ermission denied'*) docker=forbidden; return 0 ;; esac
    if runs dockerd; then
        docker=silent
    elif have dockerd; then
        docker=stopped
    else
        docker=client
    fi
}

own_socket() { printf '%s' "${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/docker.sock"; }
# $own and $own_says. Parlor looks for it at the same place.
look_at_own_docker() {
    own=none own_says=
    ! is_root && have docker && [ -z "${DOCKER_HOST:-}${DOCKER_CONTEXT:-}" ] || return 0
    if [ -S "$(own_socket)" ] && own_says=$(timeout 20 docker --host "unix://$(own_socket)" version 2>&1); then
        look_through own docker --host "unix://$(own_socket)"
    elif [ -f "${HOME:-}/.config/systemd/user/docker.service" ] && systemctl --user show-environment >/dev/null 2>&1; then
        own=stopped
    fi
}

# $podman and $podman_says.
look_at_podman() {
    podman=none podman_says=
    have podman || return 0
    if ! podman_says=$(timeout 30 podman info 2>&1); then
        podman=broken
    elif ! have_init; then
        podman=noinit
    else
        look_through podman podman
    fi
}

# Whether rooms of an engine that answers see this machine's folders: sets the variable that is named first, and what
# came back in the one of that name with _says.
look_through() {
    kind=$1
    shift
    eval "$kind=answers"
    # Where a host ran before they do, and without the program for it nothing can be looked at yet.
    [ ! -e "$(parlor_home)/data/parlor.db" ] || return 0
    busybox=$(static_busybox) || return 0
    folder=$(parlor_home) image=parlor-look:$$
    as_caller mkdir -p "$folder" 2>/dev/null && token=$(as_caller mktemp "$folder/.look.XXXXXX") || return 0
    seen=$({
        tar -C "$(dirname "$busybox")" -c "$(basename "$busybox")" | timeout 120 "$@" import - "$image" >/dev/null &&
            timeout 120 "$@" run --rm --network none --security-opt label=disable \
                --mount "type=bind,source=$folder,target=/look" "$image" "/$(basename "$busybox")" \
                sh -c 'cat "$0" && echo here >"$0"' "/look/${token##*/}"
    } 2>&1) && [ "$(cat "$token")" = here ] || {
        case $seen in
            *'oes not exist'* | *'o such file'* | *'ounts denied'* | '') eval "$kind=blind" ;;
            *) eval "$kind=lame" ;;
        esac
        eval "${kind}_says=\$seen"
    }
    timeout 60 "$@" image rm -f "$image" >/dev/null 2>&1 || true
    as_caller rm -f "$token" 2>/dev/null || rm -f "$token" 2>/dev/null || true
}

# --- Steps ---------------------------------------------------------------------------------------------------------

# Each returns 1 when it failed; what was tried and what came back is said at the end, if nothing else works.
engine_step() {
    case $1 in
        start-own)
            ask "Your rootless docker is not running and will be started with systemctl --user"
            systemctl --user start docker >&2
            ;;
        start-service | start-daemon | wait) start_docker ;;
        install-docker)
            # shellcheck disable=SC2046
            install_packages $(docker_packages)
            ;;
        install-podman)
            # shellcheck disable=SC2046
            install_packages $(podman_packages)
            ;;
        install-init) install_packages catatonit ;;
    esac
}

# Takes steps until there is an engine, and prints which; or says why there is none.
find_engine() {
    tried=
    look_at_machine
    while :; do
        look_at_engines
        step=$(engine_plan)
        case $step in
            use-*) printf '%s\n' "$step"; return 0 ;;
            stop-*) engine_stop "$step" ;;
        esac
        engine_step "$step" || say "That did not work ($step)."
        tried="$tried${tried:+ }$step"
    done
}

# Waits until docker answers; a minute and a half at the most.
wait_for_docker() {
    root=
    [ "$rights" = none ] || root=as_root
    end=$(($(date +%s) + 90)) try=0
    while [ "$(date +%s)" -lt "$end" ]; do
        if $root timeout 20 docker version >/dev/null 2>&1; then return 0; fi
        # One that gave up will not answer any more; a new one needs a moment to show up.
        try=$((try + 1))
        if [ "$try" -gt 6 ] && ! runs dockerd; then return 1; fi
        sleep 0.5
    done
    return 1
}

# Starts docker's daemon unless one runs: a second one would break the first one's networks.
start_docker() {
    ! docker_answers || return 0
    if runs dockerd; then
        say "dockerd runs; waiting until it answers."
        wait_for_docker && return 0
        ! runs dockerd || return 1
    fi
    if [ -d /run/systemd/system ]; then
        ask "Docker's daemon is not running and will be started with systemctl"
        as_root systemctl start docker >&2 && wait_for_docker
        return
    fi
    ask "Docker's daemon is not running and will be started in the background (there is no systemd)"
    # The default first; then for machines where the choice of storage fails.
    for options in "" "--storage-driver=overlay2" "--storage-driver=vfs"; do
        say "Starting dockerd $options"
        as_root sh -c "setsid dockerd $options >>$docker_log 2>&1 </dev/null &"
        wait_for_docker && return 0
        ! runs dockerd || return 1
    done
    return 1
}

docker_packages() {
    if dpkg -s docker-ce-cli >/dev/null 2>&1; then
        # Docker's own packages and Debian's cannot be mixed.
        printf 'docker-ce containerd.io iptables '
    else
        # In newer releases of Debian the client is a package of its own.
        printf 'docker.io iptables docker-cli? '
    fi
}
podman_packages() { printf 'podman runc uidmap slirp4netns fuse-overlayfs netavark aardvark-dns catatonit '; }

# --- When there is none --------------------------------------------------------------------------------------------

# What each engine is like, with the last lines of what it or its log says.
engine_account() {
    case $docker in
        none) say "docker: not installed." ;;
        client) say "docker: there is a client ($(command -v docker)), and no daemon on this machine." ;;
        stopped) say "docker: its daemon is installed, and does not run." ;;
        silent) say "docker: its daemon runs, and does not answer." ;;
        forbidden) say "docker: its daemon runs, and does not let $(me) in." ;;
        elsewhere) say "docker: it is looked for at ${DOCKER_HOST:-context $context}, and does not answer there." ;;
        leftover) say "docker: its client is set to the context $context, which nobody serves (\`docker context use default\` leaves it)." ;;
        lame) say "docker: its daemon answers, and cannot start containers." ;;
        blind) say "docker: its containers do not see $(parlor_home)." ;;
    esac
    last_lines "$docker_says" 4
    case $docker in
        stopped | silent | lame)
            if [ "$systemd" = yes ]; then
                root=
                [ "$rights" = none ] || root=as_root
                last_lines "$($root journalctl -u docker -n 12 --no-pager -o cat 2>&1)" 12
            elif [ -r "$docker_log" ]; then
                say "  The end of $docker_log:"
                last_lines "$(tail -n 12 "$docker_log")" 12
            fi
            ;;
    esac
    case $own in
        stopped) say "your rootless docker: does not start; \`journalctl --user -u docker\` has its log." ;;
        lame) say "your rootless docker: answers, and cannot start containers." ;;
        blind) say "your rootless docker: its containers do not see $(parlor_home)." ;;
    esac
    [ "$own" = none ] || last_lines "$own_says" 4
    case $podman in
        none) say "podman: not installed." ;;
        broken) say "podman: installed, and \`podman info\` fails." ;;
        noinit) say "podman: installed, without catatonit, which it needs to start rooms." ;;
        lame) say "podman: answers, and cannot start containers." ;;
        blind) say "podman: its containers do not see $(parlor_home)." ;;
    esac
    [ "$podman" = noinit ] || last_lines "$podman_says" 4
    [ -z "$tried" ] || say "Tried: $(printf '%s' "$tried" | sed 's/ /, then /g')."
    if [ -n "$apt_log" ] && [ -s "$apt_log" ]; then
        say "  The end of what apt said:"
        last_lines "$(tail -n 6 "$apt_log")" 6
    fi
}
last_lines() { [ -z "$1" ] || printf '%s\n' "$1" | sed '/^[[:space:]]*$/d' | tail -n "$2" | sed 's/^/    /' >&2; }

# Says what there is, what was tried, and the next step; ends.
engine_stop() {
    say "No container engine can be used here."
    engine_account
    # shellcheck disable=SC2046
    wanted=$(echo $base_missing $(podman_packages))
    as_root_install="apt-get update && apt-get install -y --no-install-recommends $wanted"
    case $1 in
        stop-elsewhere)
            die "start docker at ${DOCKER_HOST:-the context $context}, or leave it: unset DOCKER_HOST DOCKER_CONTEXT; docker context use default. Then make run again." ;;
        stop-forbidden)
            die "there is no sudo for $(me). As root, run: usermod -aG docker $(me). Then log in again, and make run again. (Who may use docker is as good as root; podman needs no such right: $as_root_install)" ;;
        stop-rights)
            if [ "$docker" = stopped ] && [ -z "$base_missing" ]; then
                die "this needs root, and there is no sudo for $(me). As root, start docker, or run: $as_root_install. Then make run again."
            fi
            die "this needs root, and there is no sudo for $(me). As root, run: $as_root_install. Then make run again." ;;
        stop-packages)
            die "install docker or podman (with catatonit) with this system's package manager, such as: dnf install podman catatonit; pacman -S podman catatonit; zypper install podman catatonit. Then make run again." ;;
        stop-blind)
            die "use an engine of this machine that sees $(parlor_home): not one from a snap, of another machine, or outside the container that this runs in. Or set PARLOR_HOME to a folder that it sees. Then make run again." ;;
        *)
            die "mend what the lines above name, then make run again. \`docker version\`, \`podman info\` and \`parlor doctor\` show how far it is." ;;
    esac
}
