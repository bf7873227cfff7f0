//! The lines that are written to the CLI: one line of JSON-RPC per request or answer.

use serde_json::{Map, Value, json};

/// Numbers of the requests of which each process gets one.
pub const GREETING: u64 = 1;
/// The id of the request that names the folders of skills.
pub const SKILLS: u64 = 2;
/// The id of the request that opens or resumes the conversation.
pub const THREAD: u64 = 3;
/// The id of the first message; each further message has the next number.
pub const FIRST_MESSAGE: u64 = 10;

/// The settings of a whole run.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The group's folder, where the agent works.
    pub folder: String,
    /// The model; None leaves it to the CLI.
    pub model: Option<String>,
    /// The reasoning effort; None leaves it to the CLI.
    pub effort: Option<String>,
    /// The CLI's configuration, which is in no file and no argument.
    pub config: Map<String, Value>,
    /// The name of the CLI's model provider to use.
    pub provider: String,
    /// Folders with skills.
    pub skills: Vec<String>,
    /// US dollars for a million tokens, input and output; None reports no cost.
    pub price: Option<(f64, f64)>,
    /// True if an empty answer is allowed: for a task.
    pub quiet: bool,
}

fn request(id: u64, method: &str, params: &Value) -> String {
    format!("{}\n", json!({ "id": id, "method": method, "params": params }))
}

/// Makes the first request.
pub fn greeting() -> String {
    let client = json!({ "name": "parlor", "title": "Parlor", "version": env!("CARGO_PKG_VERSION") });
    request(GREETING, "initialize", &json!({ "clientInfo": client }))
}

/// Makes the requests that follow the answer to the greeting, up to the one that opens the conversation.
pub fn opening(setup: &Setup, resume: Option<&str>) -> Vec<String> {
    let mut lines = vec![format!("{}\n", json!({ "method": "initialized" }))];
    if !setup.skills.is_empty() {
        lines.push(request(SKILLS, "skills/extraRoots/set", &json!({ "extraRoots": setup.skills })));
    }
    // The room is the sandbox, and nobody is there to approve anything.
    let mut params = json!({
        "cwd": setup.folder,
        "approvalPolicy": "never",
        "sandbox": "danger-full-access",
        "modelProvider": setup.provider,
        "config": setup.config,
    });
    if let Some(model) = &setup.model {
        params["model"] = json!(model);
    }
    let method = match resume {
        Some(id) => {
            params["threadId"] = json!(id);
            params["excludeTurns"] = json!(true);
            "thread/resume"
        }
        None => "thread/start",
    };
    lines.push(request(THREAD, method, &params));
    lines
}

/// A message: it begins a turn, or joins the one at work.
pub fn message(number: u64, thread: &str, setup: &Setup, id: &str, content: &[Value]) -> String {
    let mut params = json!({ "threadId": thread, "input": content, "clientUserMessageId": id });
    if let Some(effort) = &setup.effort {
        params["effort"] = json!(effort);
    }
    request(number, "turn/start", &params)
}

/// Answers any question of the CLI: it must not wait for somebody to confirm or choose.
pub fn nobody_there(id: &Value, method: &str) -> String {
    let result = match method {
        "item/commandExecution/requestApproval" | "item/fileChange/requestApproval" => json!({ "decision": "accept" }),
        "mcpServer/elicitation/request" => json!({ "action": "decline", "content": null }),
        "item/tool/requestUserInput" => json!({ "answers": {} }),
        _ => {
            let error = json!({ "code": -32601, "message": "nobody is there to be asked" });
            return format!("{}\n", json!({ "id": id, "error": error }));
        }
    };
    format!("{}\n", json!({ "id": id, "result": result }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_one_line_with_the_settings() {
        let setup = Setup {
            folder: "/workspace/group".into(),
            model: Some("gpt-6".into()),
            skills: vec!["/home/node/.claude/skills".into()],
            provider: "parlor".into(),
            ..Setup::default()
        };
        let lines = opening(&setup, None);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.matches('\n').count() == 1 && line.ends_with('\n')));
        let start: Value = serde_json::from_str(&lines[2]).unwrap();
        assert_eq!((&start["method"], &start["params"]["model"]), (&json!("thread/start"), &json!("gpt-6")));
        assert_eq!(start["params"]["approvalPolicy"], "never");
        let resume: Value = serde_json::from_str(&opening(&Setup::default(), Some("t"))[1]).unwrap();
        assert_eq!((&resume["method"], &resume["params"]["threadId"]), (&json!("thread/resume"), &json!("t")));
        let text = vec![json!({ "type": "text", "text": "two\nlines" })];
        assert_eq!(message(10, "t", &setup, "u", &text).matches('\n').count(), 1);
    }

    #[test]
    fn question_of_the_cli_is_answered_at_once() {
        for (method, part) in [
            ("mcpServer/elicitation/request", "decline"),
            ("item/tool/requestUserInput", "answers"),
            ("item/fileChange/requestApproval", "accept"),
            ("something/new", "-32601"),
        ] {
            let line = nobody_there(&json!(7), method);
            assert!(line.contains(part) && line.contains("\"id\":7"), "{line}");
        }
    }
}
