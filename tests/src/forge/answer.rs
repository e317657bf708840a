//! Answers of the APIs.

use serde_json::{Value, json};

/// An answer to a request.
pub(super) struct Answer {
    pub status: u16,
    /// Lines that end with `\r\n`.
    pub headers: String,
    pub body: Vec<u8>,
}

pub(super) fn json(status: u16, value: &Value) -> Answer {
    Answer { status, headers: "content-type: application/json\r\n".to_owned(), body: value.to_string().into_bytes() }
}

pub(super) fn ok(value: &Value) -> Answer {
    json(200, value)
}

pub(super) fn raw(body: Vec<u8>) -> Answer {
    Answer { status: 200, headers: "content-type: text/plain\r\n".to_owned(), body }
}

pub(super) fn says(status: u16, message: &str) -> Answer {
    json(status, &json!({ "message": message }))
}

pub(super) fn not_found() -> Answer {
    says(404, "Not Found")
}

/// The page of a list that the query asks for.
pub(super) fn page<T>(items: Vec<T>, query: &Query, size: &str, usual: usize) -> Vec<T> {
    let number = |name: &str| query.get(name).and_then(|value| value.parse::<usize>().ok());
    let (size, page) = (number(size).unwrap_or(usual), number("page").unwrap_or(1).max(1));
    items.into_iter().skip((page - 1) * size).take(size).collect()
}

/// The parameters of a query, decoded.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(text: &str) -> Self {
        let url = reqwest::Url::parse(&format!("http://x/?{text}")).expect("a query");
        Self(url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// An API request after its prefix.
pub(super) struct Api<'a> {
    pub method: &'a str,
    /// Decoded segments.
    pub path: Vec<String>,
    pub query: Query,
    pub body: Value,
    pub accept: &'a str,
    /// The credential without its scheme.
    pub token: &'a str,
}

impl Api<'_> {
    /// The segments as texts, for patterns.
    pub(super) fn parts(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }
}
