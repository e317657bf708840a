//! The page's files: their headers, and how long a browser keeps them.

use api::Service;
use bytes::Bytes;
use engine::Engine;
use http::{HeaderMap, Request, Response};
use memory::Memory;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types wfg";
const FILES: [(&str, &str); 5] = [
    ("/", "text/html; charset=utf-8"),
    ("/app.js", "text/javascript; charset=utf-8"),
    ("/layout.js", "text/javascript; charset=utf-8"),
    ("/app.css", "text/css; charset=utf-8"),
    ("/icon.svg", "image/svg+xml"),
];

async fn get(path: &str) -> Response<Bytes> {
    let service = Service::new(Engine::new(Memory::new())).admitting(api::Admission::Tokens);
    service.answer(Request::get(path).body(Bytes::new()).expect("a request")).await
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().expect("text"))
}

/// The addresses of a file with a hash, as the page names them.
fn addresses(text: &str, name: &str) -> Vec<String> {
    let before = format!("{name}?v=");
    let parts = text.split(&before).skip(1);
    parts
        .map(|rest| format!("/{name}?v={}", rest.split(|c: char| !c.is_ascii_hexdigit()).next().expect("one")))
        .collect()
}

#[tokio::test]
async fn every_file_has_its_type_and_the_headers_that_protect_it_and_needs_no_token() {
    for (path, kind) in FILES {
        let response = get(path).await;
        assert_eq!((response.status().as_u16(), response.body().is_empty()), (200, false), "{path}");
        let headers = response.headers();
        let found = ["content-type", "content-security-policy", "x-content-type-options", "referrer-policy"]
            .map(|name| header(headers, name));
        assert_eq!(found, [kind, POLICY, "nosniff", "no-referrer"], "{path}");
        assert_eq!(header(headers, "cache-control"), "no-cache", "{path}");
    }
}

#[tokio::test]
async fn file_is_kept_for_ever_under_the_hash_that_the_page_names_and_under_no_other() {
    let text = |response: Response<Bytes>| String::from_utf8(response.into_body().to_vec()).expect("text");
    let (page, script) = (text(get("/").await), text(get("/app.js").await));
    for (text, name) in [(&page, "app.js"), (&page, "app.css"), (&script, "layout.js")] {
        let addresses = addresses(text, name);
        assert!(!addresses.is_empty(), "{name} is named");
        for address in addresses {
            let kept = get(&address).await;
            assert_eq!(header(kept.headers(), "cache-control"), "public, max-age=31536000, immutable", "{address}");
        }
        for other in ["123456789abc", "", "0"] {
            let asked = get(&format!("/{name}?v={other}")).await;
            assert_eq!(
                (asked.status().as_u16(), header(asked.headers(), "cache-control")),
                (200, "no-cache"),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn page_has_no_inline_script_or_style_and_only_relative_addresses() {
    let page = String::from_utf8(get("/").await.into_body().to_vec()).expect("text");
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains("javascript:"), "{page}");
    for script in page.split("<script").skip(1) {
        assert!(script.split('>').next().expect("a tag").contains("src=\""), "{script}");
    }
    for address in page.split("src=\"").skip(1).chain(page.split("href=\"").skip(1)) {
        assert!(!address.starts_with('/') && !address.starts_with("http"), "{address}");
    }
}
