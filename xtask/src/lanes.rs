//! Lanes: sequences of parts that run side by side.
//!
//! Each lane is a process of its own, so that what its parts print can be kept apart, and so that a panic in one of
//! them ends neither the others nor the emulators of the others. A lane prints a line when a part begins and ends. The
//! parent writes all other lines to a file for each part, and shows the file if the part fails.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// Begins the lines that report a part to the parent.
const MARK: &str = "##part ";

/// A part of a run, as the summary shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub served_by: String,
    pub passed: bool,
    pub secs: f64,
    /// What was checked, if that can differ between runs.
    pub note: Option<String>,
}

impl Part {
    /// The line by which a lane reports the part to its parent.
    fn line(&self) -> Result<String> {
        Ok(format!("{MARK}{}\n", serde_json::to_string(self)?))
    }
}

/// The lane that this process runs.
pub struct Lane {
    all_passed: bool,
}

impl Lane {
    /// Makes this process a lane. The process ends when its parent is gone.
    pub fn begin() -> Self {
        std::thread::spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            // No destructors run. The guards of the emulators end the emulators.
            std::process::exit(1);
        });
        Self { all_passed: true }
    }

    /// Runs a part.
    pub fn part(&mut self, name: &str, served_by: &str, run: impl FnOnce() -> Result<()>) {
        self.run(name, served_by, || run().map(|()| None));
    }

    /// Runs a part whose result says what was checked.
    pub fn noted(&mut self, name: &str, served_by: &str, run: impl FnOnce() -> Result<String>) {
        self.run(name, served_by, || run().map(Some));
    }

    /// True if every part so far passed.
    pub fn all_passed(&self) -> bool {
        self.all_passed
    }

    fn run(&mut self, name: &str, served_by: &str, run: impl FnOnce() -> Result<Option<String>>) {
        let (name, served_by) = (name.to_owned(), served_by.to_owned());
        let mut part = Part { name, served_by, passed: false, secs: 0.0, note: None };
        print_part(&part);
        let began = Instant::now();
        let result = run();
        if let Err(error) = &result {
            eprintln!("{error:#}");
        }
        part.secs = began.elapsed().as_secs_f64();
        part.passed = result.is_ok();
        part.note = result.ok().flatten();
        self.all_passed &= part.passed;
        print_part(&part);
    }
}

/// Prints the line of a part, at the beginning of a line whatever was printed before.
fn print_part(part: &Part) {
    match part.line() {
        Ok(line) => print!("\n{line}"),
        Err(error) => eprintln!("{error:#}"),
    }
}

/// Runs lanes side by side, each as this program with `arguments` and the lane's name. Returns their parts.
pub fn side_by_side(names: &[&str], arguments: &[&str], logs: &Path) -> Result<Vec<Part>> {
    let lanes = names.iter().map(|name| Process::start(name, arguments, logs)).collect::<Result<Vec<_>>>()?;
    let mut parts = Vec::new();
    for mut lane in lanes {
        let reader = lane.reader.take().context("a lane is read once")?;
        let read = reader.join().ok().with_context(|| format!("reading the lane {} failed", lane.name))?;
        ensure!(!read.is_empty(), "the lane {} ran no part", lane.name);
        parts.extend(read);
    }
    Ok(parts)
}

/// A lane as its parent sees it. Dropping it ends the lane.
struct Process {
    name: &'static str,
    child: Child,
    reader: Option<std::thread::JoinHandle<Vec<Part>>>,
}

impl Process {
    fn start(name: &str, arguments: &[&str], logs: &Path) -> Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        // This name leads to the running program even if a build has replaced its file.
        let mut command = Command::new("/proc/self/exe");
        command.args(arguments).arg(name).stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn().with_context(|| format!("starting the lane {name}"))?;
        // This closes the parent's copies of the writing end, so that reading ends when the lane ends.
        drop(command);
        let name: &'static str = name.to_owned().leak();
        let logs = logs.to_owned();
        let reader = std::thread::spawn(move || Log { lane: name, logs, parts: Vec::new(), open: None }.read(reader));
        Ok(Self { name, child, reader: Some(reader) })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A lane whose input ends exits by itself.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The output of a lane so far.
struct Log {
    lane: &'static str,
    logs: PathBuf,
    parts: Vec<Part>,
    open: Option<Open>,
}

/// A part that has begun and not ended.
struct Open {
    /// As it was reported at its beginning: not passed yet.
    part: Part,
    began: Instant,
    path: PathBuf,
    file: Option<File>,
}

impl Log {
    fn read(mut self, output: PipeReader) -> Vec<Part> {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            self.line(&line);
            line.clear();
        }
        if let Some(open) = self.open.take() {
            let note = Some("the lane ended in the middle of it".to_owned());
            let part = Part { secs: open.began.elapsed().as_secs_f64(), note, ..open.part.clone() };
            self.end(&open, part);
        }
        self.parts
    }

    fn line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let part = text.strip_prefix(MARK).and_then(|json| serde_json::from_str(json).ok());
        match (part, self.open.take()) {
            (Some(part), Some(open)) => self.end(&open, part),
            (Some(part), None) => {
                println!("{:11} started {} ({})", self.lane, part.name, part.served_by);
                let path = self.logs.join(format!("{}-{:02}.log", self.lane, self.parts.len() + 1));
                let file = File::create(&path).ok();
                self.open = Some(Open { part, began: Instant::now(), path, file });
            }
            (None, Some(mut open)) => {
                if let Some(file) = &mut open.file {
                    let _ = file.write_all(line);
                }
                self.open = Some(open);
            }
            // Output outside of the parts.
            (None, None) => {
                if !text.trim().is_empty() {
                    print!("{:11} {text}", self.lane);
                }
            }
        }
    }

    fn end(&mut self, open: &Open, part: Part) {
        let result = if part.passed { "passed" } else { "FAILED" };
        let line = format!("{:11} {result}  {} ({}), {:.1} s", self.lane, part.name, part.served_by, part.secs);
        if part.passed {
            println!("{line}");
        } else {
            // One call, so that the output of another lane's part isn't printed in the middle.
            let output = fs::read(&open.path).unwrap_or_default();
            println!("{line}. It printed:\n{}\n--- end of {}", String::from_utf8_lossy(&output), open.path.display());
        }
        self.parts.push(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(passed: bool) -> Part {
        let (name, served_by) = ("demo".to_owned(), "an emulator".to_owned());
        Part { name, served_by, passed, secs: 1.5, note: None }
    }

    fn read(printed: &str) -> (Vec<Part>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(printed.as_bytes()).unwrap();
        drop(writer);
        let log = Log { lane: "one", logs: folder.path().to_owned(), parts: Vec::new(), open: None };
        (log.read(reader), folder)
    }

    #[test]
    fn the_output_of_each_part_is_in_a_file_of_its_own() {
        let mark = |part: &Part| part.line().unwrap();
        let (passed, failed) = (part(true), part(false));
        let printed = [mark(&failed), "first\n".into(), mark(&passed), mark(&failed), "second\n".into(), mark(&failed)];
        let (parts, folder) = read(&printed.concat());
        assert_eq!(parts, [passed, failed]);
        assert_eq!(fs::read_to_string(folder.path().join("one-01.log")).unwrap(), "first\n");
        assert_eq!(fs::read_to_string(folder.path().join("one-02.log")).unwrap(), "second\n");
    }

    #[test]
    fn a_part_in_which_the_lane_ends_has_failed() {
        let (parts, _folder) = read(&format!("{}thread 'main' panicked\n", part(false).line().unwrap()));
        let [part] = &parts[..] else { panic!("{parts:?}") };
        assert_eq!((part.name.as_str(), part.passed), ("demo", false));
    }
}
