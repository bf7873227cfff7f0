//! Requests that are recognised as a whole line: courtesies, questions about the guide, and lists. Pure.

use super::command::Command;

/// Returns the command for a line that is known word by word.
pub(super) fn whole(plain: &str) -> Option<Command> {
    Some(match plain {
        "" | "hi" | "hello" | "hey" | "hi there" | "hello there" | "hey there" | "good morning" | "good afternoon"
        | "good evening" | "good day" | "howdy" | "moin" | "how are you" | "hi, how are you" => Command::Greeting,
        "thanks"
        | "thank you"
        | "thank you very much"
        | "thanks a lot"
        | "thx"
        | "great"
        | "cool"
        | "nice"
        | "well done"
        | "ok"
        | "okay" => Command::Thanks,
        "bye" | "goodbye" | "good night" | "see you" | "see you later" => Command::Farewell,
        "?" | "help" | "help me" | "commands" | "examples" | "what can you do" | "what can i ask"
        | "how does this work" | "what can i do" | "usage" => Command::Help,
        "who are you"
        | "what are you"
        | "about"
        | "about you"
        | "introduce yourself"
        | "what is parlor"
        | "what's parlor"
        | "explain parlor"
        | "tell me about parlor"
        | "what is this"
        | "are you an ai" => Command::About,
        "status" | "how is it going" | "what is going on" | "info" => Command::Status,
        "time" | "date" | "what time is it" | "what's the time" | "what day is it" | "what is the date" => {
            Command::Time
        }
        "tasks"
        | "task list"
        | "my tasks"
        | "list tasks"
        | "list my tasks"
        | "list all tasks"
        | "show tasks"
        | "show my tasks"
        | "show all tasks"
        | "what tasks are there"
        | "reminders"
        | "my reminders"
        | "list reminders"
        | "list my reminders"
        | "show reminders"
        | "show my reminders"
        | "what is scheduled"
        | "what's scheduled"
        | "show me the tasks"
        | "show me my tasks"
        | "show the tasks"
        | "list the tasks"
        | "show me my reminders"
        | "show me the reminders"
        | "list all reminders" => Command::ListTasks,
        "files"
        | "ls"
        | "list files"
        | "list my files"
        | "show files"
        | "show my files"
        | "what is in my folder"
        | "what's in my folder"
        | "what is in the folder"
        | "what's in the folder"
        | "what is in your folder"
        | "what files are there"
        | "what files do you have"
        | "list my folder"
        | "list folder"
        | "show my folder"
        | "show me the files"
        | "show me my files"
        | "show the files"
        | "list the files"
        | "list all files" => Command::ListFiles(String::new()),
        "memory"
        | "recall"
        | "show memory"
        | "what do you remember"
        | "what do you know"
        | "what do you know about me"
        | "what do you know about us" => Command::Recall,
        "undo" | "undo that" | "undo this" | "take that back" => Command::Undo,
        "cancel all"
        | "cancel all tasks"
        | "cancel all reminders"
        | "cancel everything"
        | "delete all tasks"
        | "delete all reminders"
        | "delete all"
        | "remove all tasks"
        | "remove all reminders"
        | "clear all tasks" => Command::CancelAll,
        "yes" | "yes please" | "y" | "yep" | "yeah" => Command::Yes,
        "chats" | "groups" | "list chats" | "list groups" | "show chats" | "show groups" => Command::ListChats,
        _ => return None,
    })
}
