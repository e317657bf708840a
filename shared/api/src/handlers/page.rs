//! The files of the page. Anybody may read them: they contain no data, and ask the API for it with the token of their user.

use bytes::Bytes;
use engine::Engine;
use engine::ports::Ports;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::error::ApiError;
use crate::operation::answers;
use crate::part::Part;
use crate::request::Input;
use crate::response::{Answer, typed};
use crate::route::{Describe, Route};
use crate::row::{Row, read, row};

/// A file, as `shared/page` builds it.
struct File {
    id: &'static str,
    path: &'static str,
    kind: &'static str,
    describe: Describe,
    text: &'static str,
}

macro_rules! dist {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../page/dist/", $name))
    };
}

const INDEX: &str = dist!("index.html");
const SCRIPT: &str = dist!("app.js");

macro_rules! file {
    ($id:literal, $path:literal, $kind:ident, $text:expr) => {
        File { id: $id, path: $path, kind: answers::$kind, describe: |_| answers::text_of(answers::$kind), text: $text }
    };
}

const FILES: [File; 5] = [
    file!("page", "/", HTML, INDEX),
    file!("pageScript", "/app.js", SCRIPT, SCRIPT),
    file!("pageLayout", "/layout.js", SCRIPT, dist!("layout.js")),
    file!("pageStyle", "/app.css", STYLE, dist!("app.css")),
    file!("pageIcon", "/icon.svg", IMAGE, dist!("icon.svg")),
];

/// The digits of a hash in the address of a file.
const HASH: usize = 12;

/// What the page may load and do: its own scripts, styles and requests, and nothing written into it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types wfg";
const HEADERS: [(HeaderName, &str); 3] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// The routes that this file answers.
pub(crate) fn rows<P: Ports, F: Part>() -> Vec<Row<P>> {
    const fn route(file: &File) -> Route {
        read(file.id, file.path, "Returns a file of the page.", file.describe).scopes(&[])
    }
    vec![
        row!(F, route(&FILES[0]), answer),
        row!(F, route(&FILES[1]), answer),
        row!(F, route(&FILES[2]), answer),
        row!(F, route(&FILES[3]), answer),
        row!(F, route(&FILES[4]), answer),
    ]
}

pub(crate) async fn answer<P: Ports>(_: &Engine<P>, input: &Input<'_>) -> Answer {
    let file = FILES.iter().find(|file| file.path == input.route.path);
    let file = file.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "no_such_route", "there is no such file"))?;
    let mut response = typed(StatusCode::OK, file.kind, Bytes::from_static(file.text.as_bytes()));
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let kept = if is_current(file.path, input) { "public, max-age=31536000, immutable" } else { "no-cache" };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    Ok(response)
}

/// Whether the request names the hash by which this version's page asks for the file. A page of another version asks by another
/// hash, and must not keep this file under it.
fn is_current(path: &str, input: &Input<'_>) -> bool {
    let Some((_, hash)) = input.query.iter().find(|(name, _)| name == "v") else { return false };
    let address = format!("{}?v={hash}", path.trim_start_matches('/'));
    hash.len() == HASH && (INDEX.contains(&address) || SCRIPT.contains(&address))
}
