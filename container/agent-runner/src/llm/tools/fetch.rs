//! The tool that fetches a web page.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};

use super::{Call, html};

/// Most bytes of a page that are read.
const PAGE_LIMIT: usize = 2 << 20;
/// Time limit of a request.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(call: &Call<'_>, http: &reqwest::Client) -> Result<String, String> {
    let url = call.text("url")?;
    let parsed = reqwest::Url::parse(url).map_err(|error| format!("{url} is no address: {error}"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err("only http and https addresses can be fetched.".to_owned());
    }
    match tokio::time::timeout(PATIENCE, get(parsed, http)).await {
        Ok(result) => result,
        Err(_) => Err(format!("{url} took longer than {} seconds.", PATIENCE.as_secs())),
    }
}

async fn get(url: reqwest::Url, http: &reqwest::Client) -> Result<String, String> {
    let failed = |error: reqwest::Error| super::super::fault::chain(&error);
    let agent = concat!("Parlor/", env!("CARGO_PKG_VERSION"));
    let request = http.get(url).header(USER_AGENT, agent).header(ACCEPT, "text/html,text/*;q=0.9,*/*;q=0.5");
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("").to_lowercase();
    let address = response.url().to_string();
    let mut bytes = Vec::new();
    let mut cut = false;
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        let fits = chunk.len().min(PAGE_LIMIT - bytes.len());
        bytes.extend_from_slice(&chunk[..fits]);
        if fits < chunk.len() {
            cut = true;
            break;
        }
    }
    let readable = kind.is_empty()
        || kind.starts_with("text/")
        || ["json", "xml", "javascript", "yaml"].iter().any(|k| kind.contains(k));
    if !readable || bytes[..bytes.len().min(8192)].contains(&0) {
        let size = bytes.len();
        return Err(format!(
            "{address} is no text ({kind}, {size} bytes read); get it into a file with shell: wget -O FILE URL"
        ));
    }
    let text = String::from_utf8_lossy(&bytes);
    let text = if kind.contains("html") { html::text(&text) } else { text.into_owned() };
    let more = if cut { "\n(the page is longer)" } else { "" };
    Ok(format!("{address}\nstatus {status}\n\n{}{more}", text.trim()))
}
