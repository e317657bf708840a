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
    fn what_is_no_url_of_a_server_is_refused_without_its_password() {
        for bad in ["", "host", "localhost:3000", "ftp://w:geheim@host", "http://", "http://w:geheim@h ost", "/path"] {
            let error = Address::of_server(bad).map(|address| address.base).expect_err(bad).to_string();
            assert!(error.contains("expected http://host or https://host") && !error.contains("geheim"), "{error}");
        }
    }
}
