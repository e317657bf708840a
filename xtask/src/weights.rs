//! `docs/dependencies.md`: what each direct dependency costs a person who builds `wfg`, and why it stays.
//!
//! The reasons are kept from the file as it is. The figures are measured anew by a build into an empty folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::project::{root, run};

const FILE: &str = "docs/dependencies.md";
/// The line before the table, and the line after it.
const TABLE: (&str, &str) = ("<!-- table -->", "<!-- end -->");
const HEAD: &str = "| crate | used by | s | s with its own | kB | kB with its own | why it stays |\n| --- | --- | --: | --: | --: | --: | --- |\n";
/// Runs a compiler, and writes the package's name and the time that the compiler took to a file of its own.
const WRAPPER: &str =
    "#!/bin/sh\n\"$@\"\ncode=$?\n{ echo \"$CARGO_PKG_NAME\"; times; } > \"$WFG_TIMES/$$\"\nexit $code\n";

/// User seconds and bytes, by package.
type Figures = BTreeMap<String, f64>;

/// Measures, and writes the file. Prints what the whole build took.
pub fn write() -> Result<()> {
    let measured = Measured::by_a_build()?;
    let graph = Graph::read()?;
    let path = root().join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let (before, table, after) = parts(&text)?;
    let reasons = reasons(table);
    let rows = direct()?.into_iter().map(|(name, users)| {
        let own = graph.only_by(&name);
        let cell = |figures: &Figures, names: &BTreeSet<String>, unit: f64| {
            let sum: f64 = names.iter().filter_map(|name| figures.get(name)).sum();
            if sum == 0.0 { String::new() } else { format!("{:.1}", sum / unit) }
        };
        let alone = [name.clone()].into();
        let figures = [(&measured.seconds, 1.0), (&measured.bytes, 1000.0)];
        let cells = figures.map(|(figures, unit)| {
            format!("{} | {}", cell(figures, &alone, unit), cell(figures, &(&own | &alone), unit))
        });
        let users: Vec<String> = users.into_iter().collect();
        let reason = reasons.get(&name).map_or("", String::as_str);
        format!("| `{name}` | {} | {} | {reason} |\n", users.join(", "), cells.join(" | "))
    });
    let said = format!("{}\n\n", measured.summary()?);
    let table = rows.collect::<String>();
    fs::write(&path, format!("{before}{}\n{said}{HEAD}{table}{}{after}", TABLE.0, TABLE.1))?;
    println!("{}", measured.summary()?);
    Ok(())
}

/// The text before the table, the table, and the text after it.
fn parts(text: &str) -> Result<(&str, &str, &str)> {
    let marks = || format!("{FILE} must have the lines {} and {}", TABLE.0, TABLE.1);
    let (before, rest) = text.split_once(TABLE.0).with_context(marks)?;
    let (table, after) = rest.split_once(TABLE.1).with_context(marks)?;
    Ok((before, table, after))
}

/// The last cell of each row, by the name in the first.
fn reasons(table: &str) -> BTreeMap<String, String> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let name = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), (*cells.last()?).to_owned()))
    };
    table.lines().filter_map(row).collect()
}

/// The direct dependencies of the workspace outside of tests, and the packages that name them.
fn direct() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let metadata = metadata(&["--no-deps"])?;
    let packages = metadata["packages"].as_array().context("cargo lists packages")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let own: BTreeSet<String> = packages.iter().map(|package| text(&package["name"])).collect();
    let mut direct: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages {
        let user = text(&package["name"]).trim_start_matches("workflow-graph-").to_owned();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let name = text(&dependency["name"]);
            if dependency["kind"] != "dev" && !own.contains(&name) {
                direct.entry(name).or_default().insert(user.clone());
            }
        }
    }
    Ok(direct)
}

fn metadata(more: &[&str]) -> Result<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--locked"]).args(more).current_dir(root());
    let output = cargo.output().context("running cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Who needs whom, by packages' names. Versions of one package are one.
struct Graph {
    own: BTreeSet<String>,
    needs: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read() -> Result<Self> {
        let metadata = metadata(&[])?;
        let name = |id: &Value| {
            let (url, fragment) = id.as_str()?.rsplit_once('#')?;
            Some(fragment.rsplit_once('@').map_or(url.rsplit('/').next()?, |(name, _)| name).to_owned())
        };
        let own = metadata["workspace_members"].as_array().into_iter().flatten().filter_map(name).collect();
        let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array().into_iter().flatten() {
            let is_for_tests = |dependency: &&Value| {
                let kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
                kinds.map(|kind| &kind["kind"]).all(|kind| kind == "dev")
            };
            let needed = node["deps"].as_array().into_iter().flatten().filter(|one| !is_for_tests(one));
            let entry = needs.entry(name(&node["id"]).unwrap_or_default()).or_default();
            entry.extend(needed.filter_map(|one| name(&one["pkg"])));
        }
        Ok(Self { own, needs })
    }

    /// The packages that `wfg` would not have without this direct dependency, which is one of them unless another package brings it.
    fn only_by(&self, dependency: &str) -> BTreeSet<String> {
        &self.reached(None) - &self.reached(Some(dependency))
    }

    /// What `wfg` needs, if the project's packages don't name `without`.
    fn reached(&self, without: Option<&str>) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut left = vec!["wfg"];
        while let Some(name) = left.pop() {
            if reached.insert(name.to_owned()) {
                let is_own = self.own.contains(name);
                let needed = self.needs.get(name).into_iter().flatten().map(String::as_str);
                left.extend(needed.filter(|needed| !(is_own && Some(*needed) == without)));
            }
        }
        reached
    }
}

/// What a build took.
struct Measured {
    seconds: Figures,
    bytes: Figures,
    /// The size of the program as it is handed out, without symbols.
    size: u64,
}

impl Measured {
    /// Builds `wfg` as the section Install of README.md says into an empty folder, with each compiler's time written down.
    fn by_a_build() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("workflow-graph-weights-").tempdir()?;
        let place = |name: &str| folder.path().join(name);
        let (times, tools) = (place("times"), place("tools"));
        fs::create_dir_all(&times)?;
        fs::create_dir_all(&tools)?;
        let wrapper = script(&place("wrapper"), WRAPPER)?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let compiler = std::env::split_paths(&path).map(|one| one.join("cc")).find(|one| one.is_file());
        let compiler = compiler.context("there is no C compiler `cc`")?;
        script(&tools.join("cc"), &format!("#!/bin/sh\nexec {} {} \"$@\"\n", wrapper.display(), compiler.display()))?;
        let path = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path)))?;
        let mut build = Command::new("nice");
        build.args(["-n", "15", env!("CARGO"), "build", "--release", "--locked", "-p", "wfg"]).current_dir(root());
        build.env("RUSTC_WRAPPER", &wrapper).env("PATH", path).env("WFG_TIMES", &times);
        // The names of functions stay in the program, to add up their sizes.
        build.env("CARGO_TARGET_DIR", place("target")).env("CARGO_PROFILE_RELEASE_STRIP", "false");
        run(&mut build)?;
        let program = place("target/release/wfg");
        let stripped = place("stripped");
        run(Command::new("strip").arg("-o").arg(&stripped).arg(&program))?;
        let names = Command::new("nm").args(["-S", "-C", "--defined-only"]).arg(&program).output().context("nm")?;
        let bytes = sizes(&String::from_utf8_lossy(&names.stdout));
        Ok(Self { seconds: seconds(&times)?, bytes, size: fs::metadata(stripped)?.len() })
    }

    fn summary(&self) -> Result<String> {
        let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(root()).output()?;
        let date = Command::new("date").args(["-u", "+%F"]).output()?;
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        Ok(format!(
            "Measured {} on commit `{}` at a load of {}: {} crates, {:.0} s of CPU time in compilers, {:.1} MB.",
            text(date.stdout),
            text(commit.stdout),
            load.split(' ').next().unwrap_or_default(),
            self.seconds.len(),
            self.seconds.values().sum::<f64>(),
            figure(self.size) / 1e6
        ))
    }
}

/// A number of bytes as a figure. A program is smaller than 4 GiB.
fn figure(bytes: u64) -> f64 {
    u32::try_from(bytes).unwrap_or(u32::MAX).into()
}

/// Writes a program.
fn script(path: &Path, text: &str) -> Result<PathBuf> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(path.to_owned())
}

/// Adds up what the wrapper wrote.
fn seconds(times: &Path) -> Result<Figures> {
    let mut seconds = Figures::new();
    for file in fs::read_dir(times)? {
        let text = fs::read_to_string(file?.path())?;
        if let Some((name, user)) = taken(&text).filter(|(name, _)| !name.is_empty()) {
            *seconds.entry(name).or_default() += user;
        }
    }
    Ok(seconds)
}

/// A package's name, and the user time of the shell's children: the first field of the second line of `times`.
fn taken(text: &str) -> Option<(String, f64)> {
    let mut lines = text.lines();
    let (name, time) = (lines.next()?, lines.nth(1)?);
    let (minutes, seconds) = time.split_whitespace().next()?.strip_suffix('s')?.split_once('m')?;
    Some((name.to_owned(), minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?))
}

/// The bytes of each package's functions and data, from the output of `nm -S -C`.
fn sizes(names: &str) -> Figures {
    let mut sizes = Figures::new();
    for line in names.lines() {
        let mut fields = line.splitn(4, ' ');
        let size = fields.nth(1).and_then(|size| u64::from_str_radix(size, 16).ok());
        if let (Some(size), Some(package)) = (size, fields.nth(1).and_then(package_of)) {
            *sizes.entry(package).or_default() += figure(size);
        }
    }
    sizes
}

/// The package of a function by its name. A method belongs to its type's package.
fn package_of(name: &str) -> Option<String> {
    for (prefix, package) in [("sqlite3", "libsqlite3-sys"), ("ring_core", "ring")] {
        if name.starts_with(prefix) {
            return Some(package.to_owned());
        }
    }
    let path = name.trim_start_matches(['<', '&', '[', '(']).trim_start_matches("dyn ").trim_start_matches("mut ");
    let (package, _) = path.split_once("::")?;
    let is_name = !package.is_empty() && package.chars().all(|one| one.is_ascii_alphanumeric() || one == '_');
    is_name.then(|| package.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direct_dependency_has_a_reason() {
        let text = fs::read_to_string(root().join(FILE)).unwrap();
        let reasons = reasons(parts(&text).unwrap().1);
        let direct = direct().unwrap();
        let without: Vec<&String> =
            direct.keys().filter(|name| reasons.get(*name).is_none_or(String::is_empty)).collect();
        assert!(without.is_empty(), "say in {FILE} why these stay, or remove them: {without:?}");
        let gone: Vec<&String> = reasons.keys().filter(|name| !direct.contains_key(*name)).collect();
        assert!(gone.is_empty(), "no package names these any more; remove their rows from {FILE}: {gone:?}");
    }

    #[test]
    fn time_of_a_compiler_is_that_of_the_shells_children() {
        let text = "hyper\n0m0.01s 0m0.02s\n1m2.50s 0m0.40s\n";
        assert_eq!(taken(text), Some(("hyper".to_owned(), 62.5)));
        assert_eq!(taken("hyper\n"), None);
    }

    #[test]
    fn function_belongs_to_the_package_of_its_type() {
        let names = "0001 0010 T sqlite3_step\n0002 00ff t <hyper_util::rt::X as core::fmt::Debug>::fmt\n\
                     0003 0001 t <&mut hyper_util::Y>::z\n0004 T without_a_size\n0005 0008 t core::ptr::read\n";
        let sizes = sizes(names);
        assert_eq!(sizes.get("libsqlite3-sys"), Some(&16.0));
        assert_eq!(sizes.get("hyper-util"), Some(&256.0));
        assert_eq!(sizes.get("core"), Some(&8.0));
    }

    #[test]
    fn what_only_one_dependency_brings_is_its_own() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let needs = [("wfg", set(&["a", "b"])), ("a", set(&["x", "y"])), ("b", set(&["y"]))];
        let needs = needs.map(|(name, needs)| (name.to_owned(), needs)).into();
        let graph = Graph { own: set(&["wfg"]), needs };
        assert_eq!(graph.only_by("a"), set(&["a", "x"]));
        assert_eq!(graph.only_by("b"), set(&["b"]));
    }
}
