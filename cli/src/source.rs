//! Reads and checks the definition that a command names.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use protocol::limits;
use protocol::text::BYTE_ORDER_MARK;
use serde_json::Value;
use workflow::{Definition, Problem};

use crate::failure::Failure;

/// How many bytes of an input that is too large are counted: it may have no end.
const COUNTED: u64 = 1 << 30;

/// A definition's text.
#[derive(Debug)]
pub struct Source {
    /// What to call it in messages.
    pub name: String,
    /// The workflow's name, if the definition has none.
    pub stem: Option<String>,
    /// The text, without a byte order mark; empty if it is too large.
    pub text: String,
    /// Bytes of the whole.
    pub size: u64,
    /// Whether it is read as JSON.
    pub json: bool,
}

/// What goes to the server.
#[derive(Debug, PartialEq)]
pub enum Body {
    /// YAML, or JSON that is the same in YAML.
    Yaml(String),
    /// JSON that isn't.
    Json(Value),
}

impl Source {
    /// Reads the file; `-` is standard input.
    pub fn read(file: &str) -> Result<Self, Failure> {
        let (name, stem, bytes) = if file == "-" {
            ("standard input".to_owned(), None, read_all(io::stdin().lock()))
        } else {
            let stem = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
            (file.to_owned(), stem, File::open(file).and_then(read_all))
        };
        let (mut bytes, size) = bytes.map_err(|error| Failure::Usage(format!("can't read {name}: {error}.")))?;
        if bytes.starts_with(BYTE_ORDER_MARK.as_bytes()) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = before.split(|&byte| byte == b'\n').count();
            Failure::Usage(format!("can't read {name}: line {line} isn't UTF-8; save it as UTF-8."))
        })?;
        let json = Path::new(file).extension().is_some_and(|ext| ext.eq_ignore_ascii_case("json"))
            || (file == "-" && serde_json::from_str::<Value>(&text).is_ok_and(|value| value.is_object()));
        Ok(Self { name, stem, text, size, json })
    }

    /// Checks it.
    pub fn check(&self) -> Result<Definition, Vec<Problem>> {
        workflow::check_size(self.size)?;
        if self.json { workflow::from_json(&self.text) } else { workflow::from_yaml(&self.text) }
    }

    /// What to send of a good definition: with the file's name, if it has none of its own.
    pub fn body(&self, definition: &Definition) -> Body {
        let mut wanted = definition.clone();
        if wanted.name.is_none() {
            wanted.name.clone_from(&self.stem);
        }
        let texts = [Some(self.text.clone()), self.named_before(), self.named_after()];
        // The text that is sent must be read as the definition that was checked.
        let wanted = without_places(wanted);
        let same = |text: &String| workflow::from_yaml(text).is_ok_and(|read| without_places(read) == wanted);
        if let Some(text) = texts.into_iter().flatten().find(same) {
            return Body::Yaml(text);
        }
        let Some(Value::Object(mut body)) = self.json.then(|| serde_json::from_str(&self.text).ok()).flatten() else {
            return Body::Yaml(self.text.clone());
        };
        if let Some(name) = wanted.name {
            body.insert("name".to_owned(), name.into());
        }
        Body::Json(body.into())
    }

    /// For `{jobs: ...}`.
    fn named_before(&self) -> Option<String> {
        let (before, after) = self.text.split_once('{')?;
        Some(format!("{before}{{\"name\": {}, {after}", self.quoted_name()?))
    }

    /// For lines at the margin. At the end, so that lines keep their numbers.
    fn named_after(&self) -> Option<String> {
        let gap = if self.text.ends_with('\n') { "" } else { "\n" };
        Some(format!("{}{gap}name: {}\n", self.text, self.quoted_name()?))
    }

    fn quoted_name(&self) -> Option<String> {
        self.stem.as_deref().map(|stem| Value::from(stem).to_string())
    }
}

/// A definition without the places of its jobs and notes in the text, which a name may move.
fn without_places(mut definition: Definition) -> Definition {
    definition.notes.iter_mut().for_each(|note| note.at = None);
    definition.jobs.iter_mut().for_each(|job| job.at = None);
    definition
}

/// The content, or nothing if it is too large, and its size.
fn read_all(mut source: impl Read) -> io::Result<(Vec<u8>, u64)> {
    let mut bytes = Vec::new();
    source.by_ref().take(limits::DEFINITION as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() <= limits::DEFINITION {
        let size = bytes.len() as u64;
        return Ok((bytes, size));
    }
    let rest = io::copy(&mut source.take(COUNTED), &mut io::sink())?;
    Ok((Vec::new(), bytes.len() as u64 + rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str, json: bool) -> Source {
        Source {
            name: "my deploy.yml".to_owned(),
            stem: Some("my deploy".to_owned()),
            text: text.to_owned(),
            size: text.len() as u64,
            json,
        }
    }

    fn body(text: &str, json: bool) -> Body {
        let source = source(text, json);
        source.body(&source.check().expect("good"))
    }

    fn sent_name(text: &str) -> Option<String> {
        let Body::Yaml(sent) = body(text, false) else { panic!("{text} is YAML") };
        workflow::from_yaml(&sent).expect("good").name
    }

    #[test]
    fn a_definition_without_a_name_gets_the_files_whatever_its_shape() {
        for text in [
            "jobs:\n  a: {run: x}\n",
            "jobs:\n  a:\n    run: |\n      x\n      y",
            "{jobs: {a: {run: x}}}",
            "{on: push, jobs: {a: {run: x}}}",
            "---\njobs: {a: {run: x}}\n",
            "# a comment {\njobs: {a: {run: \"{\"}}\n",
        ] {
            assert_eq!(sent_name(text).as_deref(), Some("my deploy"), "{text}");
        }
        assert_eq!(sent_name("name: own\njobs: {a: {run: x}}\n").as_deref(), Some("own"));
    }

    #[test]
    fn json_keeps_the_order_of_its_jobs() {
        let Body::Yaml(sent) = body(r#"{"jobs": {"b": {"run": "x"}, "a": {"run": "y"}}}"#, true) else { panic!() };
        assert_eq!(sent, r#"{"name": "my deploy", "jobs": {"b": {"run": "x"}, "a": {"run": "y"}}}"#);
    }

    #[test]
    fn the_list_form_is_sent_as_json() {
        let text = r#"{"jobs": [{"id": "a", "name": "A", "command": "x"}]}"#;
        let Body::Json(sent) = body(text, true) else { panic!("not YAML") };
        assert_eq!(sent["name"], "my deploy");
        assert_eq!(sent["jobs"][0]["command"], "x");
    }

    #[test]
    fn a_large_file_is_refused_with_its_whole_size_and_a_byte_order_mark_is_skipped() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let read = |name: &str, bytes: &[u8]| {
            let file = dir.path().join(name);
            std::fs::write(&file, bytes).expect("written");
            Source::read(file.to_str().expect("text")).expect("read")
        };
        // Cut in the middle of a character, it isn't UTF-8.
        let problems = read("large.yml", "é".repeat(1 << 20).as_bytes()).check().expect_err("too large");
        assert!(problems[0].message.contains("the definition is 2097152 bytes"), "{problems:?}");
        assert_eq!(problems.len(), 1);
        let yaml = read("a.yml", b"\xef\xbb\xbfjobs: {a: {run: x}}");
        assert_eq!(yaml.check().expect("good").jobs.len(), 1);
        let json = read("a.json", b"\xef\xbb\xbf{\"jobs\": {\"a\": {\"run\": \"x\"}}}");
        assert_eq!(json.check().expect("good").jobs.len(), 1);
    }

    #[test]
    fn what_can_not_be_read_is_named() {
        let error = Source::read("/no/such/file.yml").expect_err("no file").to_string();
        assert_eq!(error, "can't read /no/such/file.yml: No such file or directory (os error 2).");
    }
}
