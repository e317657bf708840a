//! The address of a server, as people write it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use percent_encoding::percent_decode_str;

use crate::ClientError;

/// A URL with a scheme and a host.
pub(crate) struct Address {
    /// As it was given.
    pub url: Uri,
    /// Scheme, host, port and path, without user, password, query and the slashes at the end.
    pub base: String,
    /// Scheme, host and port.
    pub origin: String,
    /// The `Authorization` header that user and password make.
    pub basic: Option<String>,
}

impl Address {
    /// Reads a URL of any scheme. The error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url: Uri = text.trim().parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err("it has no scheme".to_owned());
        };
        let (user, host) =
            authority.as_str().rsplit_once('@').map_or((None, authority.as_str()), |(user, host)| (Some(user), host));
        if authority.host().is_empty() {
            return Err("it has no host".to_owned());
        }
        // A password with an unencoded `/`, `?` or `#` looks like a port: `http://user:pass/word@host`.
        let cut = text.matches('@').count() > authority.as_str().matches('@').count();
        check_port(host.strip_prefix(authority.host()).unwrap_or_default(), cut)?;
        let origin = format!("{scheme}://{host}");
        let base = format!("{origin}{}", url.path().trim_end_matches('/'));
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let basic = user.and_then(|user| user.split_once(':')).map(|(user, password)| {
            let pair = format!("{}:{}", decoded(user), decoded(password));
            format!("Basic {}", BASE64_STANDARD.encode(pair))
        });
        Ok(Self { url, base, origin, basic })
    }

    /// Reads the URL of a server.
    pub(crate) fn of_server(text: &str) -> Result<Self, ClientError> {
        // The text may hold a password, so that it is named in no message.
        let bad = |reason: String| ClientError::BadServer { url: "the server URL".to_owned(), reason };
        let address =
            Self::parse(text).map_err(|reason| bad(format!("{reason}; expected http://host or https://host")))?;
        match address.url.scheme_str() {
            Some("http" | "https") => Ok(address),
            other => {
                let other = other.unwrap_or_default();
                Err(bad(format!("it begins with `{other}:`; expected http://host or https://host")))
            }
        }
    }
}

/// Checks what follows the host: nothing, or `:` and a port.
///
/// [`http::uri::Authority::port`] is `None` for a port that can't be read, and a connection would go to the scheme's port.
/// `may_be_secret`: the text may be a part of a password, so that the error doesn't name it.
fn check_port(after_host: &str, may_be_secret: bool) -> Result<(), String> {
    let port = match after_host.strip_prefix(':') {
        None if after_host.is_empty() => return Ok(()),
        Some("") => return Err("it has no port after the `:`".to_owned()),
        port => port.unwrap_or(after_host),
    };
    let is_number = after_host.starts_with(':') && port.bytes().all(|b| b.is_ascii_digit());
    if is_number && port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Ok(());
    }
    let range = format!("not a number from 1 to {}", u16::MAX);
    Err(if may_be_secret {
        format!(
            "its port is {range}; if this is a part of a password, write `/` in it as %2F, `?` as %3F and `#` as %23"
        )
    } else {
        format!("its port `{port}` is {range}")
    })
}

/// `server_url` without its password, if it has one.
#[must_use]
pub fn without_password(server_url: &str) -> Option<String> {
    let Address { base, basic, .. } = Address::of_server(server_url).ok()?;
    basic.map(|_| base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_password_and_query_are_no_part_of_the_base() {
        let Address { base, basic, .. } = Address::parse(" https://w:a%20b@Host:1/stage/?x=1#y ").expect("a URL");
        assert_eq!(base, "https://Host:1/stage");
        assert_eq!(basic, Some(format!("Basic {}", BASE64_STANDARD.encode("w:a b"))));
        assert_eq!(Address::parse("http://host").expect("a URL").base, "http://host");
        assert_eq!(without_password("http://w:x@h/"), Some("http://h".to_owned()));
        assert_eq!(without_password("http://h/"), None);
    }

    #[test]
    fn port_that_is_no_number_from_1_to_65535_is_refused() {
        let reason = |url: &str| Address::parse(url).map(|address| address.base).expect_err(url);
        for host in ["127.0.0.1", "host", "[::1]", "w:geheim@host", "w:ge:heim@[::1]"] {
            for port in ["99999", "65536", "0", "abc", "-1", "+80", "8o"] {
                let expected = format!("its port `{port}` is not a number from 1 to 65535");
                for rest in ["", "/", "/stage?x=1#y"] {
                    assert_eq!(reason(&format!("http://{host}:{port}{rest}")), expected, "{host}");
                    assert_eq!(reason(&format!("https://{host}:{port}{rest}")), expected, "{host}");
                }
            }
            assert_eq!(reason(&format!("http://{host}:")), "it has no port after the `:`");
            assert_eq!(reason(&format!("http://{host}:/stage")), "it has no port after the `:`");
        }
        assert_eq!(reason("http://[::1]3000"), "its port `3000` is not a number from 1 to 65535");
        let error = Address::of_server("http://host:99999").map(|address| address.base).expect_err("a bad port");
        assert_eq!(
            error.to_string(),
            "the server URL can't be used: its port `99999` is not a number from 1 to 65535; expected http://host or https://host"
        );
    }

    #[test]
    fn port_from_1_to_65535_is_kept_and_may_be_left_out() {
        for host in ["127.0.0.1", "host", "[::1]", "[fe80:1:2:3:4:5:6:7]"] {
            for (port, number) in [("", None), (":1", Some(1)), (":3000", Some(3000)), (":65535", Some(65535))] {
                for user in ["", "w:geheim@", "w:ge:heim@", "w:99999@", "w:@", "w@"] {
                    let address = Address::parse(&format!("http://{user}{host}{port}/stage/")).expect("a URL");
                    assert_eq!(address.base, format!("http://{host}{port}/stage"), "{user}");
                    assert_eq!(address.base.parse::<Uri>().expect("a URL").port_u16(), number, "{user}{host}{port}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_url_of_a_server_is_refused_without_its_password() {
        for bad in [
            "",
            "host",
            "localhost:3000",
            "ftp://w:geheim@host",
            "http://",
            "http://w:geheim@h ost",
            "/path",
            "http://w:geheim@host:99999",
            "http://w:geheim/x@host",
            "http://w:geheim?x@host:3000",
            "http://w:geheim#x@host",
            "http://v@w:geheim/x@host",
        ] {
            let error = Address::of_server(bad).map(|address| address.base).expect_err(bad).to_string();
            assert!(error.contains("expected http://host or https://host") && !error.contains("geheim"), "{error}");
        }
    }
}
