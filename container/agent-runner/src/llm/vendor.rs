//! Chooses the model and its server: from names, keys and addresses to the client's target.

use std::collections::BTreeMap;

use genai::adapter::AdapterKind;
use genai::resolver::{AuthData, Endpoint};
use genai::{Client, ModelIden, ServiceTarget};
use parlor_protocol::ErrorKind;
use parlor_protocol::default_model;

use super::fault::Fault;

/// Keys and addresses, by their names in `.env`.
pub type Secrets = BTreeMap<String, String>;

/// A model and its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vendor {
    /// The protocol.
    pub kind: AdapterKind,
    /// The model's name; None uses the first model of the server's list.
    pub model: Option<String>,
    /// An address other than the vendor's own, ending in a slash.
    pub base: Option<String>,
    /// The key, if one is needed.
    key: Option<String>,
    /// A token that is sent as `authorization: Bearer`, for gateways.
    pub bearer: Option<String>,
}

impl Vendor {
    /// Chooses by the wanted model, else by the keys.
    pub fn choose(wanted: Option<&str>, secrets: &Secrets) -> Result<Self, Fault> {
        let get = |name: &str| secrets.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        let local_openai = get("OPENAI_BASE_URL").is_some();
        let named = wanted.map(str::trim).filter(|name| !name.is_empty());
        let bearer = get("ANTHROPIC_AUTH_TOKEN");
        let default = || default_model::by_keys(|key| get(key).is_some());
        let kind = match named.or_else(default) {
            Some(model) => Self::kind_of(model, local_openai, get("OLLAMA_HOST").is_some()),
            None if local_openai => AdapterKind::OpenAI,
            None if get("OLLAMA_HOST").is_some() => AdapterKind::Ollama,
            None => return Err(no_key(secrets)),
        };
        let model = named.or_else(default).map(str::to_owned);
        let base = match kind {
            AdapterKind::Anthropic => get("ANTHROPIC_BASE_URL").map(anthropic_base),
            AdapterKind::OpenAI | AdapterKind::OpenAIResp => get("OPENAI_BASE_URL").map(slash),
            AdapterKind::Gemini => get("GEMINI_BASE_URL").map(slash),
            AdapterKind::Ollama => get("OLLAMA_HOST").map(ollama_base),
            _ => None,
        };
        let bearer = bearer.filter(|_| kind == AdapterKind::Anthropic).map(str::to_owned);
        let key = match kind.default_key_env_name() {
            None => None,
            Some(name) => match get(name) {
                Some(key) => Some(key.to_owned()),
                // Local servers need no key, but the protocol requires one.
                None if base.is_some() || bearer.is_some() => Some("none".to_owned()),
                None => {
                    let model = model.unwrap_or_default();
                    let text = format!("The model {model} needs the key {name}: put it into .env.");
                    return Err(Fault::new(ErrorKind::Auth, text));
                }
            },
        };
        Ok(Self { kind, model, base, key, bearer })
    }

    /// Returns the protocol for a model. A name without a vendor belongs to the operator's own server, if there is one.
    fn kind_of(model: &str, local_openai: bool, ollama: bool) -> AdapterKind {
        let kind = AdapterKind::from_model(model).unwrap_or(AdapterKind::Ollama);
        match kind {
            // Other servers speak the older of OpenAI's two protocols.
            AdapterKind::OpenAIResp if local_openai && !model.contains("::") => AdapterKind::OpenAI,
            AdapterKind::Ollama if local_openai && !ollama && !model.contains("::") => AdapterKind::OpenAI,
            other => other,
        }
    }

    /// Returns the server's name for people, without a password that its address may contain.
    pub fn server(&self) -> String {
        match &self.base {
            Some(base) => format!("the model server at {}", without_logins(base.trim_end_matches('/'))),
            None => format!("{}'s server", self.kind),
        }
    }

    /// Makes a client for the server.
    pub fn client(&self, http: reqwest::Client) -> Result<Client, Fault> {
        let (base, key) = (self.base.clone(), self.key.clone());
        let resolve = move |target: ServiceTarget| -> Result<ServiceTarget, genai::resolver::Error> {
            let endpoint = base.as_deref().map_or(target.endpoint, Endpoint::from_owned);
            let auth = key.clone().map_or(AuthData::from_single("none"), AuthData::Key);
            Ok(ServiceTarget { endpoint, auth, model: target.model })
        };
        let built = Client::builder().with_reqwest(http).with_service_target_resolver_fn(resolve).build();
        built.map_err(|error| Fault::new(ErrorKind::Other, format!("The client cannot be made: {error}")))
    }

    /// Returns the model's id for the client.
    pub fn iden(&self, model: &str) -> ModelIden {
        ModelIden::new(self.kind, model)
    }

    /// Returns the URL of the server's list of models.
    pub fn list_url(&self) -> Option<String> {
        match (self.kind, &self.base) {
            (AdapterKind::OpenAI, Some(base)) => Some(format!("{base}models")),
            (AdapterKind::Ollama, Some(base)) => Some(format!("{base}api/tags")),
            _ => None,
        }
    }

    /// Returns true if the list of models is worth asking for: it may name a model, or the size of its context.
    pub fn lists_models(&self) -> bool {
        self.list_url().is_some() && (self.model.is_none() || self.kind == AdapterKind::OpenAI)
    }

    /// Returns true if the server is Ollama, asked in its own protocol.
    pub fn is_ollama(&self) -> bool {
        self.kind == AdapterKind::Ollama
    }

    /// Returns the bearer or key for [`Self::list_url`].
    pub fn list_key(&self) -> &str {
        self.key.as_deref().unwrap_or("none")
    }
}

/// Returns the first model of a server's list, which has one of two forms.
pub fn first_model(list: &serde_json::Value) -> Option<String> {
    let name = list.pointer("/data/0/id").or_else(|| list.pointer("/models/0/name"))?;
    name.as_str().map(str::to_owned)
}

/// Removes user names and passwords from the addresses in a text.
pub fn without_logins(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean.extend([before, "://"]);
        let end = after.find(|c: char| c.is_whitespace() || "\"'<>()`".contains(c)).unwrap_or(after.len());
        // The last `@`: a password may contain one, or a slash.
        rest = match after[..end].rfind('@') {
            Some(at) => {
                clean.push('…');
                &after[at..]
            }
            None => after,
        };
    }
    clean + rest
}

fn no_key(secrets: &Secrets) -> Fault {
    let text = if secrets.contains_key("CLAUDE_CODE_OAUTH_TOKEN") {
        "CLAUDE_CODE_OAUTH_TOKEN is for Claude Code alone, and this agent is another program. Put ANTHROPIC_API_KEY, \
         OPENAI_API_KEY or GEMINI_API_KEY into .env, or OLLAMA_HOST or OPENAI_BASE_URL for a server of your own."
    } else {
        "There is no key for a model. Put ANTHROPIC_API_KEY, OPENAI_API_KEY or GEMINI_API_KEY into .env, or OLLAMA_HOST \
         or OPENAI_BASE_URL for a server of your own."
    };
    Fault::new(ErrorKind::Auth, text)
}

fn slash(url: &str) -> String {
    format!("{}/", url.trim_end_matches('/'))
}

/// Adds the version to an address, which the vendor's own programs take without it.
fn anthropic_base(url: &str) -> String {
    let url = url.trim_end_matches('/');
    format!("{}/v1/", url.strip_suffix("/v1").unwrap_or(url))
}

/// Makes an address from `host`, `host:port` or an address.
fn ollama_base(host: &str) -> String {
    if host.contains("://") {
        return slash(host);
    }
    let host = host.trim_end_matches('/');
    if host.contains(':') { format!("http://{host}/") } else { format!("http://{host}:11434/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(pairs: &[(&str, &str)]) -> Secrets {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn choose(wanted: Option<&str>, pairs: &[(&str, &str)]) -> Vendor {
        Vendor::choose(wanted, &secrets(pairs)).unwrap()
    }

    #[test]
    fn key_alone_chooses_the_vendor() {
        let claude = choose(None, &[("ANTHROPIC_API_KEY", "k"), ("OPENAI_API_KEY", "o")]);
        assert_eq!((claude.kind, claude.model.as_deref()), (AdapterKind::Anthropic, Some("claude-sonnet-5")));
        assert_eq!(choose(None, &[("GEMINI_API_KEY", "g")]).kind, AdapterKind::Gemini);
        let proxied = choose(None, &[("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_BASE_URL", "http://proxy:1/")]);
        assert_eq!(proxied.base.as_deref(), Some("http://proxy:1/v1/"));
        let gateway = choose(None, &[("ANTHROPIC_AUTH_TOKEN", "t"), ("ANTHROPIC_BASE_URL", "http://proxy/v1")]);
        assert_eq!((gateway.base.as_deref(), gateway.bearer.as_deref()), (Some("http://proxy/v1/"), Some("t")));
    }

    #[test]
    fn own_server_needs_no_key_and_no_model_name() {
        let own = choose(None, &[("OPENAI_BASE_URL", "http://box:8080/v1")]);
        assert_eq!((own.kind, own.model.as_deref()), (AdapterKind::OpenAI, None));
        assert_eq!(own.list_url().as_deref(), Some("http://box:8080/v1/models"));
        let ollama = choose(None, &[("OLLAMA_HOST", "box")]);
        assert_eq!(ollama.list_url().as_deref(), Some("http://box:11434/api/tags"));
        let named = choose(Some("qwen3"), &[("OPENAI_BASE_URL", "http://box/v1"), ("OPENAI_API_KEY", "k")]);
        assert_eq!((named.kind, named.key.as_deref()), (AdapterKind::OpenAI, Some("k")));
        assert_eq!(choose(Some("gpt-5"), &[("OPENAI_BASE_URL", "http://box/v1")]).kind, AdapterKind::OpenAI);
        assert_eq!(first_model(&serde_json::json!({"data": [{"id": "a"}]})).as_deref(), Some("a"));
        assert_eq!(first_model(&serde_json::json!({"models": [{"name": "b"}]})).as_deref(), Some("b"));
    }

    #[test]
    fn password_in_an_address_is_not_shown() {
        for base in ["http://ann:hun/t@er2@box:1/v1", "http://ann:hunter2@box:1/v1/"] {
            let own = choose(None, &[("OPENAI_BASE_URL", base)]);
            assert_eq!(own.server(), "the model server at http://…@box:1/v1");
        }
        let ollama = choose(Some("qwen3"), &[("OLLAMA_HOST", "ann:hunter2@box:1")]);
        assert_eq!(ollama.server(), "the model server at http://…@box:1");
        let text = "no route for url (http://a:b@c/d), see https://e.f/g@h or mail to x@y.z";
        assert_eq!(without_logins(text), "no route for url (http://…@c/d), see https://…@h or mail to x@y.z");
        assert_eq!(without_logins("http://a/ and http://b"), "http://a/ and http://b");
    }

    #[test]
    fn missing_key_is_reported() {
        let why = |wanted, pairs: &[_]| Vendor::choose(wanted, &secrets(pairs)).unwrap_err();
        assert!(why(None, &[]).text.contains("ANTHROPIC_API_KEY"));
        assert!(why(None, &[("CLAUDE_CODE_OAUTH_TOKEN", "t")]).text.contains("Claude Code alone"));
        let wrong = why(Some("gpt-5"), &[("ANTHROPIC_API_KEY", "k")]);
        assert!(wrong.kind == ErrorKind::Auth && wrong.text.contains("OPENAI_API_KEY"));
    }
}
