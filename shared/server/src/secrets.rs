//! A file of secrets: a JSON object of names and values, that only its owner may read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use engine::ports::{SecretStore, StoreError, Stored};
use futures::future::BoxFuture;
use nix::unistd::geteuid;
use protocol::text::without_mark;
use protocol::{SecretName, SecretValue, Secrets};
use serde_json::Value;

/// The largest file there may be, in bytes: two hundred values of the greatest length.
const LARGEST: u64 = 1024 * 1024;

/// Why a file of secrets can't be used. The text contains no value.
#[derive(Debug, thiserror::Error)]
#[error("the file of secrets {} {problem}", path.display())]
pub struct SecretsError {
    path: PathBuf,
    problem: String,
}

/// A file of secrets, read again when it has changed, so that replacing a value needs no restart.
pub struct SecretsFile {
    path: PathBuf,
    known: Mutex<(Stamp, Secrets)>,
}

/// The inode, size and times of a file. They differ after a change; a replaced file has another inode.
type Stamp = (u64, u64, i64, i64, i64, i64);

impl SecretsFile {
    /// Reads the file.
    ///
    /// # Errors
    /// If it isn't a regular file, isn't the user's own, can be read or written by others, is too large, or isn't a JSON
    /// object of names and texts.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SecretsError> {
        let path = path.into();
        let known = Mutex::new(load(&path)?);
        Ok(Self { path, known })
    }
}

impl SecretStore for SecretsFile {
    fn secrets<'a>(&'a self, names: &'a BTreeSet<SecretName>) -> BoxFuture<'a, Stored<Secrets>> {
        Box::pin(async move { self.read(names) })
    }
}

impl SecretsFile {
    fn read(&self, names: &BTreeSet<SecretName>) -> Stored<Secrets> {
        let unavailable = |error: SecretsError| StoreError::Unavailable(error.to_string());
        // The value is replaced as a whole, so that a poisoned lock is no problem.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = usable(&self.path).map_err(unavailable)?;
        if stamp(&now) != known.0 {
            *known = load(&self.path).map_err(unavailable)?;
        }
        Ok(names.iter().filter_map(|name| Some((name.clone(), known.1.get(name)?.clone()))).collect())
    }
}

/// All secrets of a file.
///
/// # Errors
/// As [`SecretsFile::open`].
pub fn all(path: &Path) -> Result<Secrets, SecretsError> {
    load(path).map(|(_, secrets)| secrets)
}

/// Changes a file of secrets, all or nothing; makes it if it isn't there. Only its owner can read it.
///
/// # Errors
/// As [`SecretsFile::open`], and if it can't be written.
pub fn change<T>(path: &Path, change: impl FnOnce(&mut Secrets) -> T) -> Result<T, SecretsError> {
    let problem = |error: io::Error| refuse(path, format!("can't be written: {error}"));
    // A link's target is replaced, not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder_lock = File::open(folder).map_err(problem)?;
    // Held until it is closed: of two concurrent changes, none is lost.
    folder_lock.lock().map_err(problem)?;
    let mut secrets = if path.exists() { all(path)? } else { Secrets::new() };
    let result = change(&mut secrets);
    let texts: BTreeMap<&str, &str> = secrets.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    let text = serde_json::to_string_pretty(&texts).map_err(|error| problem(error.into()))? + "\n";
    if text.len() as u64 > LARGEST {
        return Err(refuse(path, format!("would be {} bytes; at most {LARGEST} are allowed", text.len())));
    }
    // A temporary file can be read only by its owner from the beginning.
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(problem)?;
    new.write_all(text.as_bytes()).and_then(|()| new.as_file().sync_all()).map_err(problem)?;
    new.persist(path).map_err(|error| problem(error.error))?;
    folder_lock.sync_all().map_err(problem)?;
    Ok(result)
}

fn refuse(path: &Path, problem: impl Into<String>) -> SecretsError {
    SecretsError { path: path.to_owned(), problem: problem.into() }
}

fn stamp(found: &Metadata) -> Stamp {
    (found.ino(), found.size(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec())
}

fn usable(path: &Path) -> Result<Metadata, SecretsError> {
    // Opening a pipe would wait for a writer.
    let found = fs::metadata(path).map_err(|error| refuse(path, format!("can't be read: {error}")))?;
    check(path, &found)?;
    Ok(found)
}

fn check(path: &Path, found: &Metadata) -> Result<(), SecretsError> {
    let mode = found.mode() & 0o777;
    if !found.is_file() {
        return Err(refuse(path, "is not a file"));
    }
    if found.uid() != geteuid().as_raw() {
        return Err(refuse(path, format!("belongs to another user ({}); it must be your own", found.uid())));
    }
    if mode & 0o077 != 0 {
        return Err(refuse(path, format!("can be read or written by others (its mode is {mode:03o}); `chmod 600` it")));
    }
    if found.size() > LARGEST {
        return Err(refuse(path, format!("is {} bytes; at most {LARGEST} are allowed", found.size())));
    }
    Ok(())
}

fn load(path: &Path) -> Result<(Stamp, Secrets), SecretsError> {
    let unreadable = |error: io::Error| refuse(path, format!("can't be read: {error}"));
    usable(path)?;
    let file = File::open(path).map_err(unreadable)?;
    // It may have been replaced since.
    let found = file.metadata().map_err(unreadable)?;
    check(path, &found)?;
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(unreadable)?;
    let secrets = parse(without_mark(&text)).map_err(|problem| refuse(path, problem))?;
    Ok((stamp(&found), secrets))
}

fn parse(text: &str) -> Result<Secrets, String> {
    let example = r#"such as {"NAME": "value"}"#;
    let given: BTreeMap<String, Value> = match serde_json::from_str(text) {
        Ok(Value::Object(given)) => given.into_iter().collect(),
        Ok(_) => return Err(format!("has no JSON object, {example}")),
        Err(error) => {
            return Err(format!("has no JSON object, {example}: line {}, column {}", error.line(), error.column()));
        }
    };
    let secret = |(name, value): (String, Value)| {
        let name = SecretName::new(name).map_err(|error| format!("has a name that can't be used: {error}"))?;
        let Value::String(value) = value else { return Err(format!("has something else than a text for {name}")) };
        let value =
            SecretValue::new(value).map_err(|error| format!("has a value for {name} that can't be used: {error}"))?;
        Ok((name, value))
    };
    given.into_iter().map(secret).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn name(text: &str) -> SecretName {
        SecretName::new(text).expect("a name")
    }

    fn set(path: &Path, key: &str, value: &str) {
        let value = SecretValue::new(value).expect("a value");
        change(path, |secrets| secrets.insert(name(key), value)).expect("written");
    }

    fn file_of(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secrets.json");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its own");
        (folder, path)
    }

    fn refused(text: &str, mode: u32) -> String {
        let (_folder, path) = file_of(text, mode);
        SecretsFile::open(path).err().expect("refused").to_string()
    }

    #[test]
    fn file_that_others_can_read_is_refused() {
        for mode in [0o644, 0o640, 0o604, 0o620, 0o666, 0o610] {
            let refused = refused("{}", mode);
            assert!(refused.contains(&format!("{mode:03o}")) && refused.contains("chmod 600"), "{refused}");
        }
        for mode in [0o600, 0o400] {
            let (_folder, path) = file_of("{}", mode);
            assert!(SecretsFile::open(path).is_ok(), "{mode:03o}");
        }
        let (folder, path) = file_of("{}", 0o644);
        let link = folder.path().join("link");
        symlink(path, &link).expect("a link");
        assert!(SecretsFile::open(link).is_err(), "what a link names counts");
        assert!(SecretsFile::open(folder.path()).err().expect("a folder").to_string().contains("is not a file"));
    }

    #[test]
    fn errors_name_the_problem_and_no_value() {
        for (text, word) in [
            ("", "line 1"),
            ("{\"KEY\": \"hunter22\"", "line 1"),
            ("[\"hunter22\"]", "no JSON object"),
            ("\"hunter22\"", "no JSON object"),
            ("{\"KEY\": 22222222}", "for KEY"),
            ("{\"KEY\": {\"hunter22\": 1}}", "for KEY"),
            ("{\"KEY\": \"\"}", "is empty"),
            ("{\"a-b\": \"hunter22\"}", "a-b"),
        ] {
            let refused = refused(text, 0o600);
            assert!(refused.contains(word) && !refused.contains("hunter22") && !refused.contains("2222"), "{refused}");
        }
        let long = format!("{{\"KEY\": \"{}\"}}", "x".repeat(4097));
        assert!(refused(&long, 0o600).contains("4097 bytes; at most 4096"));
        assert!(refused(&" ".repeat(1024 * 1024 + 1), 0o600).contains("at most 1048576"));
    }

    #[test]
    fn changed_file_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secrets.json");
        set(&path, "KEY", "old value");
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);
        let opened = SecretsFile::open(&path).expect("good");
        let read = || opened.read(&[name("KEY"), name("NOPE")].into());
        assert_eq!(read().expect("good").values().map(SecretValue::reveal).collect::<Vec<_>>(), ["old value"]);
        set(&path, "KEY", "new value");
        assert_eq!(read().expect("good")[&name("KEY")].reveal(), "new value");
        fs::write(&path, "{").expect("written");
        assert!(read().expect_err("broken").to_string().contains("secrets.json has no JSON object"));
        fs::write(&path, "{}").expect("written");
        assert!(read().expect("mended").is_empty());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("its own");
        assert!(read().expect_err("open to others").to_string().contains("chmod 600"));
        fs::remove_file(&path).expect("removed");
        assert!(read().is_err());
    }

    #[test]
    fn byte_order_mark_is_skipped() {
        let (_folder, path) = file_of("\u{feff}{\"KEY\": \"hunter22\"}", 0o600);
        assert_eq!(all(&path).expect("good").len(), 1);
    }

    #[test]
    fn concurrent_changes_are_all_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secrets.json");
        std::thread::scope(|scope| {
            for n in 0..8 {
                let path = &path;
                scope.spawn(move || set(path, &format!("K{n}"), "value"));
            }
        });
        assert_eq!(all(&path).expect("good").len(), 8);
    }
}
