//! The user of an agent in its container, so that its files belong to the right user on the host.

use super::Capabilities;
use super::spec::User;

/// The ids of the user behind `sudo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SudoIds {
    /// `SUDO_UID`.
    pub uid: u32,
    /// `SUDO_GID`.
    pub gid: u32,
}

/// The uid of the image's own user `node`, for a host that runs as root.
const NODE: u32 = 1000;

/// Returns the user of a host's containers.
///
/// Without root, it is the host's own user: through keep-id with rootless podman, as the container's root with
/// rootless docker (which maps it to the host's user). A root host never runs an agent as root: it uses the user
/// behind `sudo`, else 1000:1000, and gives the groups' folders to that user.
pub fn user_for(uid: u32, gid: u32, sudo: Option<SudoIds>, caps: &Capabilities) -> User {
    if uid != 0 {
        return match (caps.rootless, caps.keep_id) {
            (true, false) => User { uid: 0, gid: 0, keep_id: false },
            (_, keep_id) => User { uid, gid, keep_id },
        };
    }
    let SudoIds { uid, gid } = under_root(sudo);
    User { uid, gid, keep_id: false }
}

/// Returns the user behind `sudo`, from its variables.
pub fn sudo_ids() -> Option<SudoIds> {
    let id = |name| std::env::var(name).ok()?.parse().ok();
    Some(SudoIds { uid: id("SUDO_UID")?, gid: id("SUDO_GID")? })
}

/// Returns the user of agents and their files on a host that runs as root, for any engine.
pub fn under_root(sudo: Option<SudoIds>) -> SudoIds {
    sudo.filter(|ids| ids.uid != 0).unwrap_or(SudoIds { uid: NODE, gid: NODE })
}

/// Returns why a host of this user cannot use an engine that answers; None if it can.
pub fn misfit(uid: u32, caps: &Capabilities) -> Option<&'static str> {
    (uid == 0 && caps.rootless && !caps.keep_id).then_some(
        "this docker is the rootless one of another user, and files that agents write would be that user's: run Parlor as \
         that user, or unset DOCKER_HOST",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(rootless: bool, keep_id: bool) -> Capabilities {
        Capabilities { version: "1".into(), rootless, keep_id, unsupported: vec![] }
    }

    #[test]
    fn root_does_not_use_the_rootless_docker_of_someone() {
        assert!(misfit(0, &caps(true, false)).is_some());
        for (uid, rootless, keep) in [(0, false, false), (0, true, true), (1234, true, false), (1234, false, false)] {
            assert_eq!(misfit(uid, &caps(rootless, keep)), None, "{uid} {rootless} {keep}");
        }
    }

    #[test]
    fn every_combination() {
        let sudo = Some(SudoIds { uid: 501, gid: 20 });
        let sudo_root = Some(SudoIds { uid: 0, gid: 0 });
        let cases = [
            // (uid, gid, sudo, rootless, keep_id) → (uid, gid, keep_id)
            ((1000, 1000, None, false, false), (1000, 1000, false)),
            ((1234, 100, None, false, false), (1234, 100, false)),
            ((1234, 100, sudo, false, false), (1234, 100, false)),
            ((1000, 1000, None, true, true), (1000, 1000, true)),
            ((1234, 100, None, true, true), (1234, 100, true)),
            ((1234, 100, None, true, false), (0, 0, false)),
            ((0, 0, None, false, false), (1000, 1000, false)),
            ((0, 0, sudo, false, false), (501, 20, false)),
            ((0, 0, sudo_root, false, false), (1000, 1000, false)),
        ];
        for ((uid, gid, sudo, rootless, keep), (want_uid, want_gid, keep_id)) in cases {
            let user = user_for(uid, gid, sudo, &caps(rootless, keep));
            assert_eq!(user, User { uid: want_uid, gid: want_gid, keep_id }, "{uid}:{gid} {sudo:?} {rootless} {keep}");
        }
    }
}
