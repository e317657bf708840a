//! Finds modules of a crate that use each other in a circle.
//!
//! A path in the code that begins with `crate::`, or with as many `super::` as lead to the crate, is a use of the module that
//! it names. Modules of one parent count as the parent. Tests and other binaries of a crate don't count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, ensure};

use crate::project::root;

/// Each module with the names that it uses. Some may be of other items.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Checks the crates that are shipped, and this one.
pub fn check() -> Result<()> {
    let mut crates = ["worker", "cli", "functions", "xtask"].map(|name| root().join(name)).to_vec();
    for folder in root().join("shared").read_dir()? {
        crates.push(folder?.path());
    }
    let mut circles = Vec::new();
    for folder in crates.iter().filter(|folder| folder.join("Cargo.toml").exists()) {
        let mut uses = Uses::new();
        read(&folder.join("src"), &[], &mut uses)?;
        let name = folder.strip_prefix(root())?.display();
        circles.extend(circle(uses).map(|modules| format!("{name}: {}", modules.join(" -> "))));
    }
    let circles = circles.join("\n");
    ensure!(circles.is_empty(), "modules use each other; move what they share to a module below them:\n{circles}");
    Ok(())
}

/// Reads the files of a folder. `parents` are the modules to which the folder belongs.
fn read(folder: &Path, parents: &[String], uses: &mut Uses) -> Result<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let modules = match name.as_str() {
            "tests" | "bin" => continue,
            "lib" | "main" | "mod" => parents.to_vec(),
            _ => [parents, &[name]].concat(),
        };
        if path.is_dir() {
            read(&path, &modules, uses)?;
        } else if let (Some("rs"), Some(module)) = (path.extension().and_then(|kind| kind.to_str()), modules.first()) {
            let names = names_used(&std::fs::read_to_string(&path)?, modules.len());
            uses.entry(module.clone()).or_default().extend(names.into_iter().filter(|name| name != module));
        }
    }
    Ok(())
}

/// The names that a file uses of its crate. `depth` is the number of modules in the path of the file's own module.
fn names_used(text: &str, depth: usize) -> BTreeSet<String> {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let is_test = ["#[cfg(test)]", "#[cfg(all(test,"].iter().any(|start| line.trim_start().starts_with(start));
        match is_test.then(|| lines.next()).flatten() {
            Some(item) if item.ends_with('{') => {
                let end = format!("{}}}", &item[..item.len() - item.trim_start().len()]);
                lines.by_ref().find(|line| *line == end);
            }
            Some(_) => {}
            None => code.extend([line.split("//").next().unwrap_or_default(), "\n"]),
        }
    }
    let to_crate = "super::".repeat(depth);
    let paths = code.split("crate::").skip(1).chain(code.split(&to_crate).skip(1));
    paths.flat_map(first_names).collect()
}

/// The names that begin a path: one, or several in braces.
fn first_names(path: &str) -> Vec<String> {
    let mut depth = 0;
    let ends = |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth < 0 || (depth == 0 && c == ',')
    };
    let pieces: Vec<&str> = match path.strip_prefix('{') {
        Some(list) => list.split_inclusive(ends).collect(),
        None => vec![path],
    };
    // The list ends with the first piece that doesn't end with a comma.
    let last = pieces.iter().position(|piece| !piece.ends_with(',')).unwrap_or(0);
    let name = |piece: &&str| piece.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    pieces[..=last].iter().map(name).collect()
}

/// A circle, if there is one. Each module uses the next, and the last is the first again.
fn circle(mut uses: Uses) -> Option<Vec<String>> {
    // Who uses no module that is left is in no circle.
    while let Some(free) = uses.iter().find(|(_, used)| used.iter().all(|name| !uses.contains_key(name))) {
        let free = free.0.clone();
        uses.remove(&free);
    }
    let mut path = vec![uses.keys().next()?.clone()];
    loop {
        let next = uses[path.last()?].iter().find(|name| uses.contains_key(*name))?;
        let begin = path.iter().position(|module| module == next);
        path.push(next.clone());
        if let Some(begin) = begin {
            return Some(path.split_off(begin));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, depth: usize) -> Vec<String> {
        names_used(text, depth).into_iter().collect()
    }

    #[test]
    fn paths_to_the_crate_are_uses() {
        assert_eq!(names("use crate::rows::{all, one};\nlet x = crate::time::now();\n", 1), ["rows", "time"]);
        assert_eq!(names("use crate::{\n    a::{b, c},\n    d,\n};\nuse std::{fmt, io};", 1), ["", "a", "d"]);
        assert_eq!(names("use super::one;\nuse super::super::two;\n", 2), ["two"]);
    }

    #[test]
    fn comments_and_tests_are_no_uses() {
        let text = "// As crate::a.\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}\nuse crate::c;\n";
        assert_eq!(names(text, 1), ["c"]);
    }

    #[test]
    fn modules_of_a_circle_are_named_in_order() {
        let uses = |pairs: &[(&str, &str)]| -> Uses {
            let entry =
                |(module, used): &(&str, &str)| ((*module).to_owned(), used.split(' ').map(str::to_owned).collect());
            pairs.iter().map(entry).collect()
        };
        assert_eq!(circle(uses(&[("a", "b Item"), ("b", "c"), ("c", "Item")])), None);
        let found = circle(uses(&[("a", "b"), ("b", "c"), ("c", "d b"), ("d", "Item")]));
        assert_eq!(found, Some(["b", "c", "b"].map(str::to_owned).into()));
    }
}
