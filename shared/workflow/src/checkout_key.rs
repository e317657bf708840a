//! Reads the key `checkout`.

use std::path::{Component, Path as FilePath};

use protocol::{limit, limits};
use serde_json::Value;

use super::advice::check_keys;
use super::checker::Checker;
use super::checkout::{Checkout, Credentials};
use super::keys::{self, Level};
use super::node::{Kind, Node, Path};
use super::report::quote;

impl Checker<'_> {
    /// `true`, `false`, or a mapping. `None` for `false`.
    pub(super) fn checkout(&mut self, node: &Node, path: Path<'_>) -> Option<Checkout> {
        if let Value::Bool(wanted) = node.to_value() {
            return wanted.then(Checkout::default);
        }
        let entries = self.mapping(node, path, "true, false, or a mapping, such as `{depth: 0}`")?;
        check_keys(&mut self.report, entries, path, Level::Checkout);
        let get = |key| keys::find(entries, key).map(|entry| &entry.value);
        let depth = get("depth").and_then(|node| self.depth(node, path.key("depth")));
        Some(Checkout {
            depth: depth.unwrap_or(Checkout::default().depth),
            submodules: get("submodules").is_some_and(|node| self.boolean(node, path.key("submodules"))),
            lfs: get("lfs").is_some_and(|node| self.boolean(node, path.key("lfs"))),
            paths: get("paths").map(|node| self.folders(node, path.key("paths"))).unwrap_or_default(),
            credentials: get("credentials")
                .map(|node| self.credentials(node, path.key("credentials")))
                .unwrap_or_default(),
        })
    }

    fn depth(&mut self, node: &Node, path: Path<'_>) -> Option<u32> {
        let depth = node.to_value().as_u64().and_then(|depth| u32::try_from(depth).ok());
        let depth = depth.filter(|depth| *depth <= limits::CHECKOUT_DEPTH);
        if depth.is_none() {
            let expected = format!("a whole number from 0, which means all, to {}", limits::CHECKOUT_DEPTH);
            self.wrong_type(node, path, &expected);
        }
        depth
    }

    /// Paths of folders in the repository.
    fn folders(&mut self, node: &Node, path: Path<'_>) -> Vec<String> {
        let items = self.one_or_many(node, path, "a path or a list of paths");
        if matches!(&node.kind, Kind::List(items) if items.is_empty()) {
            self.report.add("no_paths", node.at, path, "`paths` is empty; leave it out to check out everything");
        }
        self.at_most(items.len(), limit!(CHECKOUT_PATHS), "paths", node.at, path);
        let folder = |(index, item): (Option<usize>, &Node)| {
            let path = index.map_or(path, |index| path.index(index));
            let text = self.text(item, path, "the path of a folder")?;
            if !self.no_longer_than(limit!(WORKDIR), text.len(), item.at, path) {
                return None;
            }
            if !is_folder(text) {
                let message = format!(
                    "a path is that of a folder in the repository, such as `src/app`, not {}; it has no pattern, no quotation mark and \
                     no control character",
                    quote(text)
                );
                self.report.add("bad_path", item.at, path, message);
            }
            Some(text.to_owned())
        };
        items.into_iter().filter_map(folder).collect()
    }

    fn credentials(&mut self, node: &Node, path: Path<'_>) -> Credentials {
        let Some(text) = self.text(node, path, "`drop`, `keep` or `none`") else { return Credentials::default() };
        text.parse().unwrap_or_else(|_| {
            let message = format!("the credential is one to `drop` or `keep`, or `none`, not {}", quote(text));
            self.report.add("unknown_value", node.at, path, message);
            Credentials::default()
        })
    }
}

fn is_folder(text: &str) -> bool {
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    !text.is_empty() && FilePath::new(text).components().all(inside) && !text.contains(|c: char| c < ' ' || c == '"')
}
