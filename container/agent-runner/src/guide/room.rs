//! The group's folder, its memory, and commands in the room.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Voice;
use super::lang::Lang;
use super::state::Undo;
use super::words::by_lang;
use crate::memory::{self, FILE as MEMORY};
use crate::process::{self, Plan};
use crate::provider::Room;
use crate::tool;

/// Bytes of a file that are shown.
const SHOWN: u64 = 32 * 1024;
/// Most entries in the listing of a folder.
const LISTED: usize = 200;
/// Bytes of a command's output that are kept.
const OUTPUT: usize = 24 * 1024;
/// Time limit of a command; tests make it shorter with `PARLOR_RUN_LIMIT_MS`.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// Lists a folder below the group's.
pub fn list(root: &Path, lang: Lang, wanted: &str) -> String {
    let dir = match inside(root, lang, wanted) {
        Ok(dir) => dir,
        Err(reason) => return reason,
    };
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries.filter_map(Result::ok),
        Err(error) => return format!("The folder {} cannot be listed: {error}.", named(lang, wanted)),
    };
    let mut lines: Vec<String> = entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.metadata() {
                Ok(known) if known.is_dir() => format!("- {name}/"),
                Ok(known) if known.is_symlink() => format!("- {name} (link)"),
                Ok(known) => format!("- {name} ({})", size(known.len())),
                Err(_) => format!("- {name}"),
            }
        })
        .collect();
    lines.sort();
    let count = lines.len();
    if count == 0 {
        let empty = by_lang!(lang, "is empty", "ist leer", "está vacía", "est vide");
        return format!("{} {empty}.", named(lang, wanted));
    }
    lines.truncate(LISTED);
    let more = if count > LISTED { format!("\n… and {} more", count - LISTED) } else { String::new() };
    let holds = by_lang!(lang, "holds:", "enthält:", "contiene:", "contient :");
    format!("{} {holds}\n{}{more}", named(lang, wanted), lines.join("\n"))
}

/// Returns the text of a file below the group's folder.
pub fn show(root: &Path, lang: Lang, wanted: &str) -> String {
    match inside(root, lang, wanted).and_then(|path| text(&path).map_err(|reason| format!("{wanted} {reason}"))) {
        Ok(text) if text.trim().is_empty() => format!("{wanted} is empty."),
        Ok(text) => format!("{wanted}:\n{}", fenced(&text)),
        Err(reason) => reason,
    }
}

/// Adds a line to the group's memory.
pub fn remember(root: &Path, guide: &Voice, fact: &str) -> String {
    match memory::append(root, fact) {
        Ok(()) => {
            guide.place.change(|state| state.undo = Some(Undo::Forget(fact.to_owned())));
            by_lang!(
                guide.lang,
                format!("I will remember it: it is in {MEMORY} now."),
                format!("Das merke ich mir: Es steht jetzt in {MEMORY}."),
                format!("Lo recordaré: está en {MEMORY}."),
                format!("Je m'en souviendrai : c'est dans {MEMORY}.")
            )
        }
        Err(error) => format!("I could not write it to {MEMORY}: {error}."),
    }
}

/// Removes a line from the group's memory: the line with exactly these words, or the only line that contains them.
pub fn forget(root: &Path, guide: &Voice, fact: &str) -> String {
    let lang = guide.lang;
    let lines = memory::facts(root);
    let same: Vec<&String> = lines.iter().filter(|line| line.eq_ignore_ascii_case(fact)).collect();
    let holding: Vec<&String> =
        lines.iter().filter(|line| line.to_lowercase().contains(&fact.to_lowercase())).collect();
    let line = match (&same[..], &holding[..]) {
        ([line, ..], _) | ([], [line]) => (*line).clone(),
        ([], []) => {
            return by_lang!(
                lang,
                format!("I remember nothing like “{fact}”. “what do you remember” shows all."),
                format!("So etwas wie „{fact}“ weiß ich nicht. „was weißt du“ zeigt alles."),
                format!("No recuerdo nada como «{fact}». «qué recuerdas» lo muestra todo."),
                format!("Je ne sais rien de « {fact} ». « que sais-tu » montre tout.")
            );
        }
        ([], many) => {
            let many = many.iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n");
            return by_lang!(
                lang,
                format!("Which of these shall I forget? Write the whole line.\n{many}"),
                format!("Was davon soll ich vergessen? Schreib die ganze Zeile.\n{many}"),
                format!("¿Cuál de estas olvido? Escribe la línea entera.\n{many}"),
                format!("Laquelle dois-je oublier ? Écris la ligne entière.\n{many}")
            );
        }
    };
    match memory::remove(root, &line) {
        Ok(()) => {
            guide.place.change(|state| state.undo = Some(Undo::Remember(line.clone())));
            by_lang!(
                lang,
                format!("Forgotten: {line}"),
                format!("Vergessen: {line}"),
                format!("Olvidado: {line}"),
                format!("Oublié : {line}")
            )
        }
        Err(error) => format!("I could not change {MEMORY}: {error}."),
    }
}

/// Returns the group's memory.
pub fn recall(root: &Path, lang: Lang) -> String {
    match text(&root.join(MEMORY)) {
        Ok(text) if !text.trim().is_empty() => {
            let lead = by_lang!(lang, "This is in", "Das steht in", "Esto está en", "Ceci est dans");
            format!("{lead} {MEMORY}:\n\n{}", text.trim())
        }
        Ok(_) => nothing_remembered(lang),
        Err(_) if !root.join(MEMORY).exists() => nothing_remembered(lang),
        Err(reason) => format!("{MEMORY} {reason}"),
    }
}

fn nothing_remembered(lang: Lang) -> String {
    by_lang!(
        lang,
        "I remember nothing yet. Try “remember that Ann likes tea”.",
        "Ich weiß noch nichts. Versuch „merke dir, dass Anna Tee mag“.",
        "Aún no recuerdo nada. Prueba «recuerda que a Ana le gusta el té».",
        "Je ne sais encore rien. Essaie « retiens que Anne aime le thé »."
    )
    .to_owned()
}

/// Runs a shell command in the group's folder.
pub fn run(room: &Room, line: &str) -> String {
    let root = &room.folders.group;
    let limit = std::env::var("PARLOR_RUN_LIMIT_MS").ok().and_then(|text| text.parse().ok());
    let limit = limit.map_or(RUN_LIMIT, Duration::from_millis);
    let plan = Plan { stdin: "", merge: true, log_stderr: false, keep: OUTPUT, limit: Some(limit) };
    let start = |mut shell: Command| {
        shell.arg("-c").arg(line).current_dir(root);
        tool::offer(&mut shell, room);
        process::run(&mut shell, &plan, &room.working)
    };
    let mut busybox = Command::new("busybox");
    busybox.arg("sh");
    let ended = match start(Command::new("sh")) {
        // An image may have the busybox shell without the name `sh`.
        Err(error) if error.kind() == io::ErrorKind::NotFound => start(busybox),
        ended => ended,
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return format!("The command could not be started: {error}. Is there a shell in the image?"),
    };
    let output = ended.stdout.text();
    let shown = if output.trim().is_empty() { String::new() } else { format!("{}\n", fenced(&output)) };
    if ended.timed_out {
        return format!("{shown}It took longer than {} seconds, so I ended it.", limit.as_secs_f32());
    }
    match ended.code {
        Some(0) if shown.is_empty() => "Done, exit code 0, no output.".to_owned(),
        Some(0) => format!("{shown}exit code 0"),
        _ => format!("{shown}It failed: {}.", ended.how()),
    }
}

/// Resolves links in a path, and refuses paths outside the group's folder.
fn inside(root: &Path, lang: Lang, wanted: &str) -> Result<PathBuf, String> {
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => by_lang!(
            lang,
            format!("There is no {wanted} in my folder. “list files” shows what there is."),
            format!("In meinem Ordner gibt es kein {wanted}. „Dateien“ zeigt, was da ist."),
            format!("No hay {wanted} en mi carpeta. «archivos» muestra lo que hay."),
            format!("Il n'y a pas de {wanted} dans mon dossier. « fichiers » montre ce qu'il y a.")
        ),
        _ => format!("{wanted} cannot be opened: {error}."),
    };
    let root = root.canonicalize().map_err(|error| format!("My folder cannot be opened: {error}."))?;
    let path = root.join(wanted).canonicalize().map_err(gone)?;
    if path.starts_with(&root) { Ok(path) } else { Err(format!("{wanted} is outside my folder, so I leave it alone.")) }
}

/// Returns a file's text, or why it cannot be shown, as words that follow the file's name.
fn text(path: &Path) -> Result<String, String> {
    let known = fs::metadata(path).map_err(|error| format!("cannot be read: {error}."))?;
    if known.is_dir() {
        return Err("is a folder. Try “list files in” and its name.".to_owned());
    }
    if !known.is_file() {
        return Err("is not a regular file, so I leave it alone.".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SHOWN).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}."))?;
    let cut = known.len() > SHOWN;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        // The cut may split a character; any other invalid byte means that the file is not text.
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Err(format!("is no text ({}), so I do not show it.", size(known.len()))),
    };
    if text.contains('\0') {
        return Err(format!("is no text ({}), so I do not show it.", size(known.len())));
    }
    let note = if cut { format!("\n… the first {} of {}", size(SHOWN), size(known.len())) } else { String::new() };
    Ok(format!("{text}{note}"))
}

/// Makes a code block, with a fence longer than any inside the text.
fn fenced(text: &str) -> String {
    let longest = text.lines().map(|line| line.trim_start().bytes().take_while(|byte| *byte == b'`').count()).max();
    let fence = "`".repeat(longest.unwrap_or(0).max(2) + 1);
    format!("{fence}\n{}\n{fence}", text.trim_end_matches('\n'))
}

fn named(lang: Lang, wanted: &str) -> String {
    if wanted.is_empty() || wanted == "." {
        return by_lang!(lang, "My folder", "Mein Ordner", "Mi carpeta", "Mon dossier").to_owned();
    }
    by_lang!(
        lang,
        format!("My folder's {wanted}"),
        format!("{wanted} in meinem Ordner"),
        format!("{wanted} en mi carpeta"),
        format!("{wanted} dans mon dossier")
    )
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=1023 => format!("{bytes} bytes"),
        1024..=1_048_575 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_shown_only_if_inside_the_folder_and_text() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("group");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(home.path().join("secret"), "secret").unwrap();
        fs::write(root.join("a.txt"), "```\nhi\n").unwrap();
        fs::write(root.join("b.bin"), [0, 159, 146, 150]).unwrap();
        fs::write(root.join("long"), "ä".repeat(40_000)).unwrap();
        std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
        assert_eq!(show(&root, Lang::En, "a.txt"), "a.txt:\n````\n```\nhi\n````");
        for outside in ["../secret", "link", "/etc/passwd", "sub/../../secret"] {
            assert!(
                show(&root, Lang::En, outside).contains("outside my folder"),
                "{outside}: {}",
                show(&root, Lang::En, outside)
            );
        }
        assert!(show(&root, Lang::En, "b.bin").contains("is no text (4 bytes)"));
        assert!(show(&root, Lang::En, "sub").contains("is a folder"));
        assert!(show(&root, Lang::En, "none").contains("There is no none"));
        let long = show(&root, Lang::En, "long");
        assert!(long.contains("… the first 32 KiB of 78 KiB") && long.len() < 34_000);
        assert_eq!(
            list(&root, Lang::En, ""),
            "My folder holds:\n- a.txt (7 bytes)\n- b.bin (4 bytes)\n- link (link)\n- long (78 KiB)\n- sub/"
        );
        assert_eq!(list(&root, Lang::En, "sub"), "My folder's sub is empty.");
        assert!(list(&root, Lang::En, "..").contains("outside"));
    }

    #[test]
    fn memory_is_changed_line_by_line() {
        let home = tempfile::tempdir().unwrap();
        let guide = Voice { place: super::super::state::Place::at(home.path()), lang: Lang::En };
        assert!(recall(home.path(), Lang::En).contains("nothing yet"));
        fs::write(home.path().join(MEMORY), "# Notes").unwrap();
        assert!(remember(home.path(), &guide, "Ann\nlikes  tea").contains("I will remember"));
        assert!(remember(home.path(), &guide, "Bob too").contains("I will remember"));
        assert!(recall(home.path(), Lang::En).ends_with("# Notes\n- Ann likes tea\n- Bob too"));
        remember(home.path(), &guide, "Bob has a boat");
        assert!(forget(home.path(), &guide, "bob").contains("Which of these"), "two lines name Bob");
        assert_eq!(forget(home.path(), &guide, "TEA"), "Forgotten: Ann likes tea");
        assert_eq!(forget(home.path(), &guide, "bob too"), "Forgotten: Bob too");
        assert!(forget(home.path(), &guide, "Notes").contains("nothing like"), "only lines of facts go");
        assert!(recall(home.path(), Lang::En).ends_with("# Notes\n- Bob has a boat"));
    }
}
