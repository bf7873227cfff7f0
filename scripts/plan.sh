# What to do about container engines: one decision without side effects. POSIX sh, to be sourced.
#
# engine_plan prints the next step for a machine with these facts, each a word in a variable:
#   rights    root | sudo | none         whether something can be installed and started
#   packages  apt | none                 whether a package manager is here that the scripts can use
#   systemd   yes | no                   whether it starts services here
#   docker    none       no client
#             client     a client, and no daemon on this machine
#             stopped    a client, and a daemon that does not run
#             silent     a daemon that runs, and does not answer
#             forbidden  a daemon that runs, and does not let this user in
#             elsewhere  DOCKER_HOST or a context names another machine or socket, and nothing answers there
#             leftover   a context names a socket of this machine that nobody serves, such as Docker Desktop's
#             lame       answers, and cannot start containers
#             blind      answers, and its containers do not see the folders of this machine
#             answers
#   own       none | stopped | lame | blind | answers              this user's rootless docker
#   podman    none | broken | noinit | lame | blind | answers      noinit: without catatonit it cannot start rooms
#   tried     the steps that were taken already; no step is taken twice
#
# The steps, each followed by another look at the facts:
#   start-own  start-service  start-daemon  wait  install-docker  install-podman  install-init
# The ends:
#   use-docker  use-own  use-podman  use-docker-by-sudo
#   stop-elsewhere  stop-rights  stop-packages  stop-forbidden  stop-blind  stop-broken

engine_plan() {
    # An engine that works is used as it is.
    [ "$docker" != answers ] || { echo use-docker; return; }
    [ "$own" != answers ] || { echo use-own; return; }
    [ "$podman" != answers ] || { echo use-podman; return; }

    # Then what is nearest to working: the smallest change first.
    [ "$podman" != noinit ] || ! plan_may_install install-init || { echo install-init; return; }
    [ "$own" != stopped ] || plan_tried start-own || { echo start-own; return; }
    if [ "$docker" = silent ] && ! plan_tried wait; then
        echo wait
        return
    fi
    if [ "$docker" = stopped ] && [ "$rights" != none ]; then
        if [ "$systemd" = yes ]; then
            plan_tried start-service || { echo start-service; return; }
        else
            plan_tried start-daemon || { echo start-daemon; return; }
        fi
    fi
    [ "$docker" != forbidden ] || [ "$rights" = none ] || { echo use-docker-by-sudo; return; }

    # Whoever named another machine's docker does not want one of this machine's instead.
    [ "$docker" != elsewhere ] || { echo stop-elsewhere; return; }

    # Then what has to be installed. Root gets docker; for others podman is better: no daemon, and no group that amounts
    # to root. A daemon beside one that runs, or that was just seen not to start, would help nobody.
    if [ "$rights" = root ]; then
        case $docker in
            none | client) ! plan_may_install install-docker || { echo install-docker; return; } ;;
        esac
    fi
    [ "$podman" != none ] || ! plan_may_install install-podman || { echo install-podman; return; }

    # Nothing is left to try.
    case " $docker $own $podman " in *" blind "*) echo stop-blind; return ;; esac
    [ "$docker" != forbidden ] || { echo stop-forbidden; return; }
    case "$tried $docker $own $podman" in
        " none "* | " client "* | " stopped "* | " leftover "*)
            [ "$own" != lame ] || { echo stop-broken; return; }
            case $podman in broken | lame) echo stop-broken; return ;; esac
            [ "$rights" != none ] || { echo stop-rights; return; }
            echo stop-packages
            ;;
        *) echo stop-broken ;;
    esac
}

plan_tried() { case " $tried " in *" $1 "*) return 0 ;; *) return 1 ;; esac }
plan_may_install() { [ "$rights" != none ] && [ "$packages" = apt ] && ! plan_tried "$1"; }
