//! Proxies that the environment names (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`). Loopback is never reached by one.

use hyper_util::client::proxy::matcher::Matcher;
use protocol::host;
use reqwest::Url;

/// Whether a URL's host is this machine: `localhost`, 127.0.0.0/8, `::1` or the unspecified address.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(host::is_loopback)
}

/// The proxy by which requests to this URL go, without user and password.
pub(crate) fn proxy_for(url: &Url) -> Option<String> {
    if is_loopback(url) {
        return None;
    }
    let proxy = Matcher::from_env().intercept(&url.as_str().parse().ok()?)?;
    let uri = proxy.uri();
    Some(format!("{}://{}", uri.scheme_str().unwrap_or("http"), uri.authority()?.as_str().rsplit('@').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognized_in_every_form() {
        let is = |url: &str| is_loopback(&Url::parse(url).expect("a URL"));
        for host in [
            "localhost",
            "LOCALHOST:3000",
            "localhost.",
            "a.localhost",
            "127.0.0.1",
            "127.9.8.7:1",
            "127.1",
            "[::1]:3000",
        ] {
            assert!(is(&format!("http://{host}/x")), "{host}");
        }
        for host in ["[::ffff:127.0.0.1]", "0.0.0.0:3000", "[::]:3000"] {
            assert!(is(&format!("https://{host}")), "{host}");
        }
        for host in ["localhost.example.com", "notlocalhost", "128.0.0.1", "[::2]", "10.0.0.1", "127.0.0.1.example.com"]
        {
            assert!(!is(&format!("http://{host}/x")), "{host}");
        }
    }
}
