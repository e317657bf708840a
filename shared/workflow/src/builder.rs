//! Builds the tree from a reader's events, without recursion, and reports what is wrong with its shape.

use std::collections::HashMap;
use std::fmt::Write;

use protocol::limits;

use super::node::{Entry, Kind, Node, write_key};
use super::problem::Position;
use super::report::{Report, quote};

/// Lists and mappings inside one another: more than any definition needs, few enough to walk by recursion.
pub(super) const DEPTH: usize = 64;
/// What a definition may grow to when its aliases are written out and the workflow's `env` is given to every job.
pub(super) const EXPANDED: usize = 16 * limits::DEFINITION;

pub(super) struct Builder {
    frames: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    expanded: usize,
    pub report: Report,
}

/// A list or mapping that isn't closed yet.
struct Frame {
    node: Node,
    anchor: usize,
    key: Key,
}

enum Key {
    Awaited,
    Given(String, Position),
    /// Not text, and reported; its value is dropped.
    Bad,
}

/// Ends the parsing: what follows can't be stored. The reason is in the report.
pub(super) struct Stop;

impl Builder {
    pub fn new() -> Self {
        Self { frames: Vec::new(), root: None, anchors: HashMap::new(), expanded: 0, report: Report::default() }
    }

    pub fn finish(self) -> (Option<Node>, Report) {
        (self.root, self.report)
    }

    /// `anchor` is 0 where there is none.
    pub fn scalar(&mut self, text: String, plain: bool, anchor: usize, at: Position) -> Result<(), Stop> {
        self.deliver(Node { kind: Kind::Scalar { text, plain }, at }, anchor)
    }

    /// `kind` is an empty list or mapping.
    pub fn open(&mut self, kind: Kind, anchor: usize, at: Position) -> Result<(), Stop> {
        if self.frames.len() >= DEPTH {
            return Err(self.stop("too_deep", at, too_deep()));
        }
        self.frames.push(Frame { node: Node { kind, at }, anchor, key: Key::Awaited });
        Ok(())
    }

    pub fn close(&mut self) -> Result<(), Stop> {
        self.report_duplicates();
        match self.frames.pop() {
            Some(frame) => self.deliver(frame.node, frame.anchor),
            None => Ok(()),
        }
    }

    pub fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Stop> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(self.stop("recursive_alias", at, "this alias is inside the value it stands for; write it out"));
        };
        self.expanded += node.weight();
        if self.expanded > EXPANDED {
            return Err(self.expanded_too_far(at));
        }
        let copy = Node { kind: node.kind.clone(), at };
        self.deliver(copy, 0)
    }

    fn deliver(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor != 0 {
            self.expanded += node.weight();
            if self.expanded > EXPANDED {
                return Err(self.expanded_too_far(node.at));
            }
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root.get_or_insert(node);
            return Ok(());
        };
        match &mut frame.node.kind {
            Kind::Scalar { .. } => {}
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => match (std::mem::replace(&mut frame.key, Key::Awaited), node.kind) {
                (Key::Awaited, Kind::Scalar { text, .. }) => frame.key = Key::Given(text, node.at),
                (Key::Awaited, _) => {
                    frame.key = Key::Bad;
                    let path = self.path();
                    self.report.add("wrong_type", node.at, path, "a key must be text, not a list or a mapping");
                }
                (Key::Given(key, key_at), kind) => {
                    entries.push(Entry { key, key_at, value: Node { kind, at: node.at } });
                }
                (Key::Bad, _) => {}
            },
        }
        Ok(())
    }

    /// The entries stay, so that what else is wrong with them shows too.
    fn report_duplicates(&mut self) {
        let path = self.path();
        let Some(Frame { node: Node { kind: Kind::Map(entries), .. }, .. }) = self.frames.last() else { return };
        let mut first = HashMap::with_capacity(entries.len());
        for Entry { key, key_at, .. } in entries {
            let first = first.entry(key.as_str()).or_insert(key_at);
            if *first != key_at {
                let mut path = path.clone();
                let is_first = path.is_empty();
                let _ = write_key(&mut path, is_first, key);
                let message =
                    format!("the key {} is here already, in line {}; keep one of them", quote(key), first.line);
                self.report.add("duplicate_key", *key_at, path, message);
            }
        }
    }

    fn expanded_too_far(&mut self, at: Position) -> Stop {
        let message =
            format!("with its aliases written out the definition is over {EXPANDED} bytes; use fewer of them");
        self.stop("too_large", at, message)
    }

    fn stop(&mut self, code: &'static str, at: Position, message: impl Into<String>) -> Stop {
        let path = self.path();
        self.report.add(code, at, path, message);
        Stop
    }

    /// Where the next event belongs.
    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.frames {
            let _ = match (&frame.node.kind, &frame.key) {
                (Kind::List(items), _) => write!(path, "[{}]", items.len()),
                (_, Key::Given(key, _)) => {
                    let first = path.is_empty();
                    write_key(&mut path, first, key)
                }
                _ => Ok(()),
            };
        }
        path
    }
}

pub(super) fn too_deep() -> String {
    format!("lists and mappings are over {DEPTH} deep inside one another; flatten them")
}
