//! Archives whose bytes depend on their content alone: sorted entries, one time, owner 0.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Files, folders and links by path. Paths are relative and have no `.` at the beginning.
#[derive(Clone, Default)]
pub struct Tree(BTreeMap<String, Node>);

#[derive(Clone)]
enum Node {
    File { bytes: Vec<u8>, mode: u32 },
    Folder { mode: u32, owner: u64 },
    Link(String),
}

impl Tree {
    /// Adds a file that everyone may read.
    pub fn file(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), Node::File { bytes: bytes.into(), mode: 0o644 });
    }

    /// Adds a program.
    pub fn program(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), Node::File { bytes: bytes.into(), mode: 0o755 });
    }

    /// Adds a folder with these permissions, for this user and group.
    pub fn folder(&mut self, path: impl Into<String>, mode: u32, owner: u64) {
        self.0.insert(path.into(), Node::Folder { mode, owner });
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: impl Into<String>, target: impl Into<String>) {
        self.0.insert(path.into(), Node::Link(target.into()));
    }

    /// Adds another tree below a folder; `prefix` ends with `/` or is empty.
    pub fn below(&mut self, prefix: &str, tree: &Self) {
        self.0.extend(tree.0.iter().map(|(path, node)| (format!("{prefix}{path}"), node.clone())));
    }

    /// The files, in the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().filter_map(|(path, node)| match node {
            Node::File { bytes, .. } => Some((path.as_str(), bytes.as_slice())),
            _ => None,
        })
    }

    /// Adds the folders that contain something and aren't there yet, as packages for Debian have them.
    pub fn with_parents(mut self) -> Self {
        let parents: Vec<String> =
            self.0.keys().flat_map(|path| path.match_indices('/').map(|(at, _)| path[..at].to_owned())).collect();
        for path in parents {
            self.0.entry(path).or_insert(Node::Folder { mode: 0o755, owner: 0 });
        }
        self
    }

    /// A tar archive in which everything changed at `time`, in seconds since 1970. `prefix` comes before every path.
    pub fn tar(&self, prefix: &str, time: u64) -> Result<Vec<u8>> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, node) in &self.0 {
            let path = format!("{prefix}{path}");
            let mut header = Header::new_gnu();
            header.set_mtime(time);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(0);
            match node {
                Node::File { bytes, mode } => {
                    header.set_mode(*mode);
                    header.set_size(bytes.len() as u64);
                    builder.append_data(&mut header, path, bytes.as_slice())?;
                }
                Node::Folder { mode, owner } => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_uid(*owner);
                    header.set_gid(*owner);
                    builder.append_data(&mut header, format!("{path}/"), [].as_slice())?;
                }
                Node::Link(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    builder.append_link(&mut header, path, target)?;
                }
            }
        }
        Ok(builder.into_inner()?)
    }

    /// As [`Self::tar`], compressed.
    pub fn tar_gz(&self, prefix: &str, level: Compression, time: u64) -> Result<Vec<u8>> {
        gz(&self.tar(prefix, time)?, level)
    }

    /// A zip archive of the files. Its times are zip's earliest, 1980.
    pub fn zip(&self, level: Compression) -> Result<Vec<u8>> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let (method, level) = match level.level() {
            0 => (CompressionMethod::Stored, None),
            level => (CompressionMethod::Deflated, Some(level.into())),
        };
        for (path, node) in &self.0 {
            if let Node::File { bytes, mode } = node {
                let options = SimpleFileOptions::default()
                    .compression_method(method)
                    .compression_level(level)
                    .unix_permissions(*mode)
                    .last_modified_time(zip::DateTime::default());
                writer.start_file(path, options)?;
                writer.write_all(bytes)?;
            }
        }
        Ok(writer.finish()?.into_inner())
    }
}

/// Compresses with gzip, without a time or a name.
pub fn gz(bytes: &[u8], level: Compression) -> Result<Vec<u8>> {
    let mut writer = GzBuilder::new().mtime(0).write(Vec::new(), level);
    writer.write_all(bytes)?;
    Ok(writer.finish()?)
}

/// An archive as `ar` makes it, which a package for Debian is.
pub fn ar(members: &[(&str, &[u8])], time: u64) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        archive.extend(format!("{name:<16}{time:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 100_644, bytes.len()).bytes());
        archive.extend(*bytes);
        if bytes.len() % 2 == 1 {
            archive.push(b'\n');
        }
    }
    archive
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: [&str; 3]) -> Tree {
        let mut tree = Tree::default();
        for path in paths {
            tree.file(path, path.as_bytes());
        }
        tree
    }

    #[test]
    fn same_content_gives_the_same_archive_in_any_order() {
        let best = Compression::best();
        let (one, other) = (tree(["a", "b/c", "d"]), tree(["d", "a", "b/c"]));
        assert_eq!(one.tar_gz("x/", best, 7).unwrap(), other.tar_gz("x/", best, 7).unwrap());
        assert_eq!(one.zip(best).unwrap(), other.zip(best).unwrap());
        assert_ne!(one.tar("x/", 7).unwrap(), one.tar("x/", 8).unwrap(), "the time is in the archive");
    }

    #[test]
    fn parents_are_added_once_and_keep_their_permissions() {
        let mut tree = tree(["a/b/c", "a/d", "e"]);
        tree.folder("a", 0o700, 1);
        let tree = tree.with_parents();
        assert_eq!(tree.0.keys().collect::<Vec<_>>(), ["a", "a/b", "a/b/c", "a/d", "e"]);
        assert!(matches!(tree.0["a"], Node::Folder { mode: 0o700, owner: 1 }));
    }

    #[test]
    fn members_of_odd_size_are_padded() {
        let archive = ar(&[("one", b"x"), ("two", b"yz")], 3);
        assert_eq!(archive.len(), 8 + 60 + 2 + 60 + 2);
        assert_eq!(&archive[8..24], b"one             ");
    }
}
