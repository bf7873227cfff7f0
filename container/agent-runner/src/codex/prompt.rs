//! The agent's input: messages, and before the first one the facts about its room.

use serde_json::{Value, json};

use crate::live::brief;
use crate::memory;
use crate::provider::Room;

/// A text as an item of input.
pub fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text, "text_elements": [] })
}

/// A picture as an item of input.
pub fn picture(media_type: &str, data: &str) -> Value {
    json!({ "type": "image", "url": format!("data:{media_type};base64,{data}") })
}

/// Returns what it knows of its room, and the memories: those that other providers read, too.
pub fn guide(room: &Room, system_prompt: Option<&str>) -> String {
    let group = &room.folders.group;
    let mut parts = vec![format!(
        "You answer people in a chat. The last message of each of your turns is sent to them as it is; nobody sees what \
         you say before, nor the screen that you work on. The tools of the server `parlor` send messages and files \
         meanwhile, and keep scheduled tasks. You work in {}. What you must not forget stands in {}: change it there.",
        group.display(),
        group.join(memory::FILE).display(),
    )];
    parts.extend(system_prompt.map(str::to_owned));
    let folders = std::iter::once(group.clone()).chain([brief::global(room)]).chain(brief::extra_folders(room));
    for file in folders.map(|folder| folder.join(memory::FILE)) {
        parts.extend(brief::memory(&file).map(|text| format!("# {}\n\n{text}", file.display())));
    }
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use parlor_protocol::files::Folders;

    use super::*;
    use crate::process::Working;
    use crate::wire::Wire;

    #[test]
    fn a_picture_is_an_address_that_holds_it() {
        let url = "data:image/png;base64,Zm9v";
        assert_eq!(picture("image/png", "Zm9v"), json!({ "type": "image", "url": url }));
    }

    #[test]
    fn guide_has_every_memory_of_the_room() {
        let dir = tempfile::tempdir().unwrap();
        let folder = |name: &str, text: &str| {
            fs::create_dir_all(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("CLAUDE.md"), text).unwrap();
            dir.path().join(name)
        };
        let group = folder("group", "ours");
        let global = folder("global", "everybody's");
        folder("extra/docs", "of the docs");
        folder("extra/empty", " ");
        let folders = Folders { ipc: dir.path().into(), input: dir.path().into(), group, global };
        let room = Room {
            input: Arc::default(),
            session: String::new(),
            folders,
            wire: Wire::default(),
            working: Working::default(),
        };
        let text = guide(&room, Some("Be kind."));
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} in {text}"));
        assert!(at("Be kind.") < at("ours") && at("ours") < at("everybody's") && at("everybody's") < at("of the docs"));
        assert!(!text.contains("extra/empty"));
    }
}
