//! Tests of `scripts/`: the decisions for every state of a machine, and the advice for users who cannot install
//! anything.

use std::path::Path;
use std::process::Command;

use crate::harness::engine::Engine;

/// Runs sh in the repository with `scripts/plan.sh` loaded.
fn sh(script: &str) -> String {
    let output = Command::new("sh")
        .args(["-euc", &format!(". scripts/plan.sh\n{script}")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The facts are `rights packages systemd docker own podman`. The second column has every step until the end, if no
/// step changes anything.
#[test]
fn plan_has_steps_and_an_end_for_every_state_of_a_machine() {
    let rows = [
        // A working engine is used, and nothing else is done.
        ("root apt no answers none answers", "use-docker"),
        ("none none no stopped answers none", "use-own"),
        ("none apt no forbidden none answers", "use-podman"),
        ("root apt yes stopped none answers", "use-podman"),
        ("root apt no blind none answers", "use-podman"),
        // No engine at all.
        ("root apt no none none none", "install-docker install-podman stop-broken"),
        ("sudo apt yes none none none", "install-podman stop-broken"),
        ("none apt yes none none none", "stop-rights"),
        ("root none yes none none none", "stop-packages"),
        // A client alone: Docker's own package of it, remote users, what a desktop left.
        ("root apt no client none none", "install-docker install-podman stop-broken"),
        ("sudo apt no client none none", "install-podman stop-broken"),
        ("none apt no client none none", "stop-rights"),
        ("sudo none no client none none", "stop-packages"),
        ("root apt yes leftover none none", "install-podman stop-broken"),
        ("none apt yes leftover none none", "stop-rights"),
        // A daemon that is not running.
        ("root apt yes stopped none none", "start-service install-podman stop-broken"),
        ("root apt no stopped none none", "start-daemon install-podman stop-broken"),
        ("sudo apt no stopped none broken", "start-daemon stop-broken"),
        ("none apt no stopped none none", "stop-rights"),
        // A daemon that runs, but is not accessible or does not work.
        ("sudo apt yes forbidden none none", "use-docker-by-sudo"),
        ("none apt yes forbidden none none", "stop-forbidden"),
        ("none apt yes forbidden none broken", "stop-forbidden"),
        ("root apt yes silent none none", "wait install-podman stop-broken"),
        ("none apt yes silent none none", "wait stop-broken"),
        // A daemon on another machine.
        ("root apt yes elsewhere none none", "stop-elsewhere"),
        ("root apt yes elsewhere none answers", "use-podman"),
        // Rootless docker.
        ("none apt yes client stopped none", "start-own stop-broken"),
        ("sudo apt yes client stopped none", "start-own install-podman stop-broken"),
        ("none none no client blind none", "stop-blind"),
        ("none none no client lame none", "stop-broken"),
        // Podman without a part that it needs.
        ("sudo apt no none none noinit", "install-init stop-broken"),
        ("root apt no none none noinit", "install-init install-docker stop-broken"),
        ("none apt no none none noinit", "stop-rights"),
        ("none none no none none broken", "stop-broken"),
        ("root none no none none lame", "stop-broken"),
        // Engines that do not see the home.
        ("root apt no blind none none", "install-podman stop-blind"),
        ("none none no blind none none", "stop-blind"),
        ("root none no none none blind", "stop-blind"),
        ("root apt no lame none none", "install-podman stop-broken"),
    ];
    let facts: String = rows.iter().flat_map(|(facts, _)| [*facts, "\n"]).collect();
    let script = format!(
        "while read -r rights packages systemd docker own podman; do tried=
            while step=$(engine_plan); do
                case $step in use-* | stop-*) echo \"$tried${{tried:+ }}$step\"; break ;; esac
                tried=\"$tried${{tried:+ }}$step\"
            done
        done <<'END'\n{facts}END\n"
    );
    let found = sh(&script);
    let found: Vec<&str> = found.lines().collect();
    for ((facts, expected), found) in rows.iter().zip(&found) {
        assert_eq!(found, expected, "{facts}");
    }
    assert_eq!(found.len(), rows.len());
}

/// For any facts: only known steps, no step twice, and an end; nothing is installed or started without the right to;
/// and setup never refuses while some engine works.
#[test]
fn plan_covers_all_combinations_of_facts() {
    let found = sh(r#"
        for rights in root sudo none; do for packages in apt none; do for systemd in yes no; do
        for docker in none client stopped silent forbidden elsewhere leftover lame blind answers; do
        for own in none stopped lame blind answers; do for podman in none broken noinit lame blind answers; do
            tried= engine_step= count=0
            while :; do
                # Without a process of its own for each of thousands.
                engine_plan >&3
                break
            done 3>&1
            echo " $rights $packages $docker $own $podman"
        done; done; done; done; done; done"#);
    let mut count = 0;
    let lines: Vec<&str> = found.lines().collect();
    for pair in lines.chunks(2) {
        let [step, facts] = pair else { panic!("{pair:?}") };
        let facts: Vec<&str> = facts.split_whitespace().collect();
        let [rights, packages, docker, own, podman] = facts[..] else { panic!("{facts:?}") };
        let known = [
            "start-own",
            "start-service",
            "start-daemon",
            "wait",
            "install-docker",
            "install-podman",
            "install-init",
            "use-docker",
            "use-own",
            "use-podman",
            "use-docker-by-sudo",
            "stop-elsewhere",
            "stop-rights",
            "stop-packages",
            "stop-forbidden",
            "stop-blind",
            "stop-broken",
        ];
        assert!(known.contains(step), "{step}: {facts:?}");
        assert!(!step.starts_with("install-") || rights != "none" && packages == "apt", "{step}: {facts:?}");
        assert!(!["start-service", "start-daemon"].contains(step) || rights != "none", "{step}: {facts:?}");
        assert_eq!(
            [docker, own, podman].contains(&"answers"),
            step.starts_with("use-") && *step != "use-docker-by-sudo",
            "{step}: {facts:?}"
        );
        count += 1;
    }
    assert_eq!(count, 3 * 2 * 2 * 10 * 5 * 6);
}

/// On a machine with only Debian, as a user without any rights.
#[test]
fn user_who_cannot_install_gets_all_advice_at_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let doubles = "mkdir /tmp/double && for name in rustc cargo; do printf '#!/bin/sh\\necho rustc 1.999.0\\n' >/tmp/double/$name; done
        chmod 755 /tmp/double/*; export HOME=/tmp PATH=/tmp/double:$PATH; cd /src && scripts/setup.sh run; echo \"rc $?\"";
    let output = Engine::default().run(&[
        "run",
        "--rm",
        "--network=none",
        "--user=12345:12345",
        "--security-opt=label=disable",
        &format!("--volume={}:/src/scripts:ro", root.join("scripts").display()),
        &format!("--volume={}:/src/Cargo.toml:ro", root.join("Cargo.toml").display()),
        "parlor-test-base:bookworm",
        "sh",
        "-c",
        doubles,
    ]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "rc 1\n", "{told}");
    assert!(told.contains("docker: not installed.\npodman: not installed.\n"), "{told}");
    let command =
        "As root, run: apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev busybox-static";
    assert!(told.contains(command), "{told}");
    assert!(told.contains(" podman runc uidmap "), "{told}");
}

/// `make run` starts and `make install` copies the program that was built, even with `CARGO_TARGET_DIR`. `cargo` and
/// the program are doubles.
#[test]
fn make_run_and_install_find_the_program_in_any_target_folder() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    let script = r#"
        mkdir double checkout && cp -r "$ROOT/scripts" "$ROOT/Makefile" "$ROOT/Cargo.toml" checkout
        cat >double/cargo <<'END'
#!/bin/sh
[ "$1" = build ] || { echo 'cargo 1.999.0 (a double)'; exit; }
to=${CARGO_TARGET_DIR:-target}
while [ $# -gt 0 ]; do
    if [ "$1" = --target-dir ]; then to=$2; fi
    shift
done
mkdir -p "$to/release"
printf '#!/bin/sh\necho "parlor $*"\n' >"$to/release/parlor"
chmod 755 "$to/release/parlor"
END
        printf '#!/bin/sh\necho "rustc 1.999.0 (a double)"\n' >double/rustc
        chmod 755 double/*
        export CARGO_TARGET_DIR="$PWD/elsewhere" PATH="$PWD/double:$PATH"
        make -s -C checkout run </dev/null
        make -s -C checkout install DESTDIR="$PWD/installed" PREFIX=/usr
        installed/usr/bin/parlor is installed"#;
    let output = Command::new("sh").args(["-euc", script]).env("ROOT", root).current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let said = said.replace(dir.path().to_str().unwrap(), "");
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("parlor ")).collect();
    let expected =
        ["parlor image build", "parlor chat", "parlor man /installed/usr/share/man/man1", "parlor is installed"];
    assert_eq!(lines, expected);
}
