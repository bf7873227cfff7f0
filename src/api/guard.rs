//! The guard of the TCP listener. It requires the token, refuses pages of other origins, and accepts only host names
//! that an attacker's DNS cannot point here. The Unix socket needs no guard: its file mode admits only the owner.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::problem::Problem;

/// Names by which containers reach their host; nobody can register them in DNS.
const GATEWAYS: [&str; 2] = ["host.docker.internal", "host.containers.internal"];

/// The checks of a TCP request.
#[derive(Debug)]
pub(super) struct Guard {
    token: SecretString,
    /// True if only this machine can reach the listener.
    loopback: bool,
}

impl Guard {
    pub(super) fn new(token: SecretString, loopback: bool) -> Self {
        Self { token, loopback }
    }

    /// Refuses a request that must not reach a handler.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let host = self.host(headers)?;
        // A host in the request's target takes precedence over the header.
        if uri.authority().is_some_and(|target| !target.as_str().eq_ignore_ascii_case(host)) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "host_not_allowed",
                "the request's target names another host than the Host header: use a path alone",
            ));
        }
        origin(headers, host)?;
        self.bearer(headers)
    }

    /// Checks the Host header. After DNS rebinding, an attacker's page still sends the attacker's name.
    fn host<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Problem> {
        let mut values = headers.get_all(header::HOST).iter();
        let refused = || {
            Problem::new(
                StatusCode::FORBIDDEN,
                "host_not_allowed",
                "the Host header names neither an IP address of this listener nor localhost: use the address itself",
            )
        };
        let (Some(host), None) = (values.next().and_then(|v| v.to_str().ok()), values.next()) else {
            return Err(refused());
        };
        let name = name_of(host).to_ascii_lowercase();
        let allowed = match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(ip) => !self.loopback || ip.is_loopback(),
            Err(_) => name == "localhost" || (!self.loopback && GATEWAYS.contains(&name.as_str())),
        };
        if allowed { Ok(host) } else { Err(refused()) }
    }

    /// Accepts the token only in the header: addresses end up in logs and histories.
    fn bearer(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let given = headers.get(header::AUTHORIZATION).and_then(token_of).unwrap_or_default();
        let wanted = self.token.expose_secret().as_bytes();
        if !wanted.is_empty() && bool::from(given.ct_eq(wanted)) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the token is missing or wrong: send `Authorization: Bearer <PARLOR_TOKEN>`",
        ))
    }
}

fn token_of(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Extracts the name from `name`, `name:port` or `[v6]:port`.
fn name_of(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// Refuses pages of other origins: a browser names the page in the Origin header.
fn origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let foreign = headers.get_all(header::ORIGIN).iter().any(|origin| {
        let name = origin.to_str().ok().and_then(|text| text.strip_prefix("http://"));
        !name.is_some_and(|name| name.eq_ignore_ascii_case(host))
    });
    let cross_site = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    if foreign || cross_site {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "the request comes from another web page: the API answers programs and pages of its own origin only",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    fn status(loopback: bool, headers: &[(&str, &str)]) -> u16 {
        let guard = Guard::new("correct horse".into(), loopback);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        guard
            .check(&Uri::from_static("/v1/status"), &map)
            .map_or_else(|problem| problem.into_response().status().as_u16(), |()| 200)
    }

    const TOKEN: (&str, &str) = ("authorization", "Bearer correct horse");

    #[test]
    fn token_must_match_exactly() {
        let host = ("host", "127.0.0.1:80");
        assert_eq!(status(true, &[host, TOKEN]), 200);
        assert_eq!(status(true, &[host, ("authorization", "bearer correct horse")]), 200);
        for wrong in ["Bearer correct hors", "Bearer correct horsee", "Bearer ", "Bearer", "Basic correct horse", ""] {
            assert_eq!(status(true, &[host, ("authorization", wrong)]), 401, "{wrong:?}");
        }
        assert_eq!(status(true, &[host]), 401);
    }

    #[test]
    fn empty_token_admits_nobody() {
        let guard = Guard::new("".into(), true);
        let mut map = HeaderMap::new();
        map.insert(header::HOST, HeaderValue::from_static("localhost"));
        map.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer "));
        assert!(guard.check(&Uri::from_static("/"), &map).is_err());
    }

    #[test]
    fn target_with_a_host_must_name_this_listener() {
        let guard = Guard::new("correct horse".into(), true);
        let mut map = HeaderMap::new();
        map.insert(header::HOST, HeaderValue::from_static("localhost:7777"));
        map.insert(header::AUTHORIZATION, HeaderValue::from_static(TOKEN.1));
        for (target, fine) in [
            ("/v1/status", true),
            ("http://localhost:7777/v1/status", true),
            ("http://LOCALHOST:7777/v1/status", true),
            ("http://evil.example/v1/status", false),
            ("http://user@localhost:7777/v1/status", false),
            ("http://localhost:7778/v1/status", false),
            ("http://evil.example:7777/", false),
            ("evil.example:443", false),
        ] {
            assert_eq!(guard.check(&target.parse().unwrap(), &map).is_ok(), fine, "{target}");
        }
    }

    #[test]
    fn host_names_rebound_by_dns_are_refused() {
        for good in ["127.0.0.1", "127.0.0.1:7777", "localhost:1", "LOCALHOST", "[::1]:80", "[::1]"] {
            assert_eq!(status(true, &[("host", good), TOKEN]), 200, "{good}");
        }
        for bad in
            ["evil.example", "evil.example:7777", "localhost.evil.example", "10.0.0.1", "", "host.docker.internal"]
        {
            assert_eq!(status(true, &[("host", bad), TOKEN]), 403, "{bad}");
        }
        assert_eq!(status(false, &[("host", "10.0.0.1:7777"), TOKEN]), 200);
        assert_eq!(status(false, &[("host", "host.docker.internal:7777"), TOKEN]), 200);
        assert_eq!(status(false, &[("host", "evil.example"), TOKEN]), 403);
        assert_eq!(status(true, &[("host", "localhost"), ("host", "evil.example"), TOKEN]), 403);
        assert_eq!(status(true, &[TOKEN]), 403);
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let host = ("host", "localhost:7777");
        assert_eq!(status(true, &[host, TOKEN, ("origin", "http://localhost:7777")]), 200);
        for bad in ["http://evil.example", "null", "https://localhost:7777", "http://localhost:7778", "file://"] {
            assert_eq!(status(true, &[host, TOKEN, ("origin", bad)]), 403, "{bad}");
        }
        assert_eq!(status(true, &[host, TOKEN, ("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(status(true, &[host, TOKEN, ("sec-fetch-site", "none")]), 200);
    }
}
