//! Runs `scripts/setup.sh run` on all kinds of machines: disposable containers with real packages, real daemons in
//! their own networks, real users, and real rooms that check the home. `make test-scripts` runs them.
//!
//! `rustc` and `cargo` are doubles: the scripts only ask them for their versions before anything is built.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const IMAGE: &str = "parlor-test-machine:bookworm";

/// Commands on every machine: `setup` runs the script and reports its exit, `root` runs a command as root. A person
/// begins as `admin`, who may use sudo: docker's exec cannot give root all rights on every machine, but sudo can.
const PRELUDE: &str = r#"
export PATH=/double:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin YES=1 HOME=/home/admin
cd /src
root() { sudo env -u SUDO_USER -u SUDO_UID -u SUDO_GID HOME=/root PATH="$PATH" YES=1 "$@"; }
plain() { sudo env -u SUDO_USER -u SUDO_UID -u SUDO_GID PATH="$PATH" YES=1 HOME=/home/plain setpriv --reuid plain --regid plain --init-groups "$@"; }
setup() { "$@" scripts/setup.sh run 2>/tmp/said; echo "rc $?"; cat /tmp/said; }
client() { (cd /tmp && dpkg -x /var/cache/apt/archives/docker.io_*.deb x && root cp x/usr/bin/docker /usr/local/bin/docker); }
"#;

/// Options that give a machine rights over the kernel, and folders for its engines.
const ABLE: &[&str] = &["--privileged", "-v", "/var/lib/docker", "-v", "/var/lib/containers"];

/// Runs a script on a new machine; returns its output.
fn machine(options: &[&str], script: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let double = tempfile::tempdir().unwrap();
    for name in ["rustc", "cargo"] {
        let path = double.path().join(name);
        fs::write(&path, "#!/bin/sh\necho 'rustc 1.999.0 (a double)'\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(double.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new("docker")
        .args(["run", "--rm", "--init", "--user", "admin"])
        .args(options)
        .arg(format!("--volume={}:/src/scripts:ro", root.join("scripts").display()))
        .arg(format!("--volume={}:/src/Cargo.toml:ro", root.join("Cargo.toml").display()))
        .arg(format!("--volume={}:/double:ro", double.path().display()))
        .args([IMAGE, "sh", "-c", &format!("{PRELUDE}{script}")])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{}: {said}", output.status);
    said
}

#[track_caller]
fn says(said: &str, words: &[&str]) {
    let mut rest = said;
    for word in words {
        rest = rest.split_once(word).unwrap_or_else(|| panic!("{word:?} was not said, in this order:\n{said}")).1;
    }
}

#[test]
fn root_on_a_machine_with_nothing_installed() {
    let said = machine(
        ABLE,
        "root apt-get purge -y -q gcc libc6-dev busybox-static tzdata >/dev/null 2>&1; root apt-get autoremove -y -q >/dev/null 2>&1
        setup root; root docker version >/dev/null && echo a client is here
        pid=$(cat /var/run/docker.pid); root sh -c \"kill $pid\"; while [ -e /proc/$pid ]; do sleep 0.2; done
        echo stopped; setup root
        echo again; setup root",
    );
    says(&said, &["use-docker\nrc 0", "busybox-static", "will be installed with apt: docker.io", "a client is here"]);
    says(&said, &["stopped\nuse-docker\nrc 0", "Starting dockerd", "again\nuse-docker\nrc 0"]);
    let again = said.rsplit("again\n").next().unwrap();
    assert_eq!(again.trim(), "use-docker\nrc 0", "nothing is said or done where nothing is missing");
}

#[test]
fn docker_client_without_a_daemon_and_with_a_foreign_one() {
    let said = machine(
        ABLE,
        "client; echo plain-first; setup plain; echo root-next; setup root
        echo admin-then; setup; echo plain-then; setup plain",
    );
    says(
        &said,
        &["plain-first\nrc 1", "there is a client (/usr/local/bin/docker), and no daemon", "As root, run: apt-get"],
    );
    says(&said, &["root-next\nuse-docker\nrc 0", "docker.io", "Starting dockerd"]);
    says(&said, &["admin-then\nuse-docker-by-sudo\nrc 0"]);
    says(&said, &["plain-then\nrc 1", "does not let plain in", "ermission denied", "usermod -aG docker plain"]);
}

#[test]
fn podman_only() {
    let said = machine(
        ABLE,
        "root apt-get install -y -q --no-install-recommends podman runc uidmap slirp4netns fuse-overlayfs netavark aardvark-dns >/dev/null 2>&1
        echo without; setup root; echo with; setup root",
    );
    says(&said, &["without\nuse-podman\nrc 0", "will be installed with apt: catatonit", "with\nuse-podman\nrc 0"]);
    assert_eq!(said.rsplit("with\n").next().unwrap().trim(), "use-podman\nrc 0");
}

#[test]
fn user_with_sudo_gets_podman_even_beside_docker_desktops_client() {
    let said = machine(
        ABLE,
        r#"client; mkdir -p ~/.docker/contexts/meta/x
        id=$(printf desktop-linux | sha256sum | cut -d' ' -f1); mkdir -p ~/.docker/contexts/meta/$id
        echo '{"Name":"desktop-linux","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///home/admin/.docker/desktop/docker.sock","SkipTLSVerify":false}}}' > ~/.docker/contexts/meta/$id/meta.json
        rmdir ~/.docker/contexts/meta/x; echo '{"currentContext": "desktop-linux"}' > ~/.docker/config.json
        setup; ls ~/.local/share/parlor; podman images --quiet | wc -l"#,
    );
    says(&said, &["use-podman\nrc 0", "will be installed with apt: podman"]);
    assert!(said.ends_with("\n0\n"), "the image for looking is removed again: {said}");
}

#[test]
fn user_without_sudo_gets_all_advice_at_once() {
    let said = machine(&[], "root rm /bin/busybox; setup plain");
    says(&said, &["rc 1", "docker: not installed.", "podman: not installed.", "As root, run: apt-get update"]);
    says(&said, &["--no-install-recommends busybox-static podman runc"]);
}

#[test]
fn engines_that_cannot_work_here_are_reported_with_their_errors() {
    // A container without rights can start neither daemons nor rooms.
    let said = machine(&[], "setup root");
    says(
        &said,
        &[
            "rc 1",
            "docker: its daemon is installed, and does not run.",
            "The end of /var/log/dockerd.log:",
            "failed to",
        ],
    );
    says(&said, &["podman:", "Tried: install-docker, then start-daemon, then install-podman.", "error: mend"]);
}

#[test]
fn engine_that_does_not_see_the_home_is_not_used() {
    // The machine's own docker, used from inside one of its containers.
    let socket = ["--privileged", "-v", "/var/lib/containers", "-v", "/var/run/docker.sock:/var/run/docker.sock"];
    let said = machine(
        &socket,
        "client; setup root; root apt-get purge -y -q podman >/dev/null 2>&1; root mv /usr/bin/apt-get /usr/bin/apt-got; echo alone; setup root",
    );
    says(&said, &["use-podman\nrc 0", "will be installed with apt: podman"]);
    says(&said, &["alone\nrc 1", "docker: its containers do not see /root/.local/share/parlor.", "set PARLOR_HOME"]);
}

#[test]
fn engine_on_another_machine_without_an_answer_is_reported() {
    let said = machine(&[], "client; export DOCKER_HOST=tcp://127.0.0.1:1; setup");
    says(&said, &["rc 1", "looked for at tcp://127.0.0.1:1", "unset DOCKER_HOST"]);
}
