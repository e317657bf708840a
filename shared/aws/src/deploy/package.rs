//! What is deployed: a folder with a template and the functions' zips, as `cargo xtask package` writes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::stack::StackError;
use crate::template;

/// The template's file in the folder.
const TEMPLATE: &str = "template.yaml";
/// The property of a function that names its zip.
const CODE: &str = "CodeUri: ";

/// A template and the zips that it names.
#[derive(Debug)]
pub struct Package {
    template: String,
    folder: PathBuf,
    /// The zips, as the template names them: relative to its folder.
    zips: Vec<String>,
    /// The template's parameters, with their defaults.
    pub(crate) parameters: BTreeMap<String, Option<String>>,
    /// The version of the functions, or empty.
    pub version: String,
}

/// A file to upload.
#[derive(Debug)]
pub(crate) struct File {
    /// Its key in the bucket. It contains the checksum, so another content has another key.
    pub key: String,
    /// SHA-256 of the content.
    pub checksum: Vec<u8>,
    pub content: Bytes,
}

impl Package {
    /// Reads the template in the folder, and looks for the zips.
    ///
    /// # Errors
    /// [`StackError::BadPackage`]: a file is missing or can't be read.
    pub fn open(folder: &Path) -> Result<Self, StackError> {
        let path = folder.join(TEMPLATE);
        let bad = |reason: &str| StackError::BadPackage(format!("{}: {reason}", path.display()));
        let template = fs::read_to_string(&path).map_err(|error| {
            StackError::BadPackage(format!(
                "{} is no folder of packages: {TEMPLATE} can't be read: {error}. `cargo xtask package` writes such a folder, \
                 target/package, and a release has one",
                folder.display()
            ))
        })?;
        let value = template::read(&template).map_err(|error| bad(&error))?;
        let zips: Vec<String> = template.lines().filter_map(local_code).map(str::to_owned).collect();
        for zip in &zips {
            let there = folder.join(zip).is_file();
            there.then_some(()).ok_or_else(|| bad(&format!("it names {zip}, which isn't in the folder")))?;
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let parameters = value["Parameters"].as_object().into_iter().flatten();
        let parameters = parameters.map(|(name, one)| (name.clone(), one.get("Default").map(text))).collect();
        let version = text(&value["Outputs"]["Version"].get("Value").cloned().unwrap_or_else(|| "".into()));
        Ok(Self { template, folder: folder.to_owned(), zips, parameters, version })
    }

    /// Reads the zips one after the other.
    pub(crate) fn zips(&self) -> impl Iterator<Item = Result<(&str, File), StackError>> {
        self.zips.iter().map(|zip| {
            let path = self.folder.join(zip);
            let content = fs::read(&path)
                .map_err(|error| StackError::BadPackage(format!("{} can't be read: {error}", path.display())))?;
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Ok((zip.as_str(), File::new(&stem, "zip", content)))
        })
    }

    /// The template with the zips' places in S3, by the names that it has for them.
    pub(crate) fn template(&self, bucket: &str, keys: &BTreeMap<&str, String>) -> File {
        let line = |line: &str| match local_code(line).and_then(|zip| Some((zip, keys.get(zip)?))) {
            Some((zip, key)) => line.replace(zip, &format!("s3://{bucket}/{key}")) + "\n",
            None => format!("{line}\n"),
        };
        File::new("template", "yaml", self.template.lines().map(line).collect::<String>())
    }
}

impl File {
    fn new(stem: &str, extension: &str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let checksum = digest(&SHA256, &content).as_ref().to_vec();
        Self { key: format!("{stem}-{}.{extension}", hex::encode(&checksum[..16])), checksum, content }
    }
}

/// The zip that a line of the template names, unless it is in S3 already.
fn local_code(line: &str) -> Option<&str> {
    line.trim().strip_prefix(CODE).filter(|code| !code.starts_with("s3://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(template: &str, zips: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(TEMPLATE), template).expect("written");
        for (name, content) in zips {
            fs::write(folder.path().join(name), content).expect("written");
        }
        folder
    }

    #[test]
    fn template_names_the_uploaded_zips_by_their_content() {
        let text = "Parameters:\n  Stage: {Default: dev}\n  Must: {}\nResources:\n  A:\n    CodeUri: a.zip\n  B:\n    CodeUri: s3://x/y.zip\nOutputs:\n  Version:\n    Value: 1.2.3\n";
        let keys_of = |content: &str| {
            let folder = folder(text, &[("a.zip", content)]);
            let package = Package::open(folder.path()).expect("complete");
            assert_eq!(package.version, "1.2.3");
            assert_eq!(package.parameters.get("Stage"), Some(&Some("dev".to_owned())));
            assert_eq!(package.parameters.get("Must"), Some(&None));
            let keys = package.zips().map(|zip| zip.map(|(zip, file)| (zip, file.key))).collect::<Result<_, _>>();
            let keys: BTreeMap<&str, String> = keys.expect("readable");
            let template = package.template("b", &keys);
            let template = String::from_utf8(template.content.to_vec()).expect("text");
            assert!(template.contains(&format!("    CodeUri: s3://b/{}\n", keys["a.zip"])), "{template}");
            assert!(template.contains("    CodeUri: s3://x/y.zip\n"), "{template}");
            keys["a.zip"].clone()
        };
        let key = keys_of("one");
        assert!(key.strip_prefix("a-").is_some_and(|rest| rest.strip_suffix(".zip").is_some()), "{key}");
        assert_eq!(keys_of("one"), key);
        assert_ne!(keys_of("two"), key);
    }

    #[test]
    fn missing_file_is_named_before_anything_is_uploaded() {
        let empty = tempfile::tempdir().expect("a folder");
        let error = Package::open(empty.path()).expect_err("no template").to_string();
        assert!(error.contains("template.yaml") && error.contains("cargo xtask package"), "{error}");
        let folder = folder("A:\n  CodeUri: a.zip\n", &[]);
        let error = Package::open(folder.path()).expect_err("no zip").to_string();
        assert!(error.contains("a.zip, which isn't in the folder"), "{error}");
    }
}
