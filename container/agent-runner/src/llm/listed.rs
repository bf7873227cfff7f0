//! A server's list of models: their names, and the sizes of their contexts.

use parlor_protocol::ErrorKind;
use serde_json::Value;

use super::fault::{Fault, chain};
use super::model::CONNECT;
use super::vendor::{Vendor, first_model, without_logins};

/// The fault of a request without a model: none is named, and none can be found.
pub fn which(vendor: &Vendor, why: &str) -> Fault {
    let text = format!("Which model? Set PARLOR_MODEL, or model in the group's settings: {} {why}.", vendor.server());
    Fault::new(ErrorKind::Refused, text)
}

/// Returns a server's list of models; empty if the server has no such list.
///
/// # Errors
/// If the server cannot be reached, or refuses.
pub async fn list_of(vendor: &Vendor, http: &reqwest::Client) -> Result<Value, Fault> {
    let Some(url) = vendor.list_url() else { return Ok(Value::Null) };
    let unreachable = |error: reqwest::Error| Fault::unreachable(&vendor.server(), &without_logins(&chain(&error)));
    let request = http.get(url).bearer_auth(vendor.list_key()).timeout(CONNECT);
    let answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    let body = answer.text().await.map_err(unreachable)?;
    // Servers without such a list answer with one of these.
    if !status.is_success() && !matches!(status.as_u16(), 404 | 405 | 501) {
        return Err(Fault::read(status.as_u16(), &body, None, &vendor.server()));
    }
    Ok(serde_json::from_str(&body).unwrap_or_default())
}

/// Returns the first model of a server, if no setting names one.
///
/// # Errors
/// If it has no model.
pub fn first_of(vendor: &Vendor, list: &Value) -> Result<String, Fault> {
    first_model(list).ok_or_else(|| which(vendor, "has no model"))
}

/// Returns how many tokens a listed model takes; None if the server does not say.
pub fn context_of(list: &Value, model: &str) -> Option<usize> {
    let name = model.rsplit_once("::").map_or(model, |(_, name)| name);
    let one = list["data"].as_array()?.iter().find(|one| one["id"] == name)?;
    let keys = ["/max_model_len", "/loaded_context_length", "/context_length", "/context_window", "/meta/n_ctx"];
    let length = keys.iter().find_map(|key| one.pointer(key)?.as_u64())?;
    usize::try_from(length).ok().filter(|length| *length > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn context_of_a_listed_model_is_found() {
        let list =
            json!({"data": [{"id": "a"}, {"id": "b", "max_model_len": 8192}, {"id": "c", "meta": {"n_ctx": 4096}}]});
        let found = ["a", "openai::b", "c", "d"].map(|name| context_of(&list, name));
        assert_eq!(found, [None, Some(8192), Some(4096), None]);
    }
}
