//! How fast the disk is: what a store that syncs can reach at most.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

/// About what a transaction of one job's change adds to SQLite's log.
const CHANGE: [u8; 3 * 4096] = [1; 3 * 4096];
/// The changes in the file.
const PASS: usize = 100;

/// How long each sync of `count` takes that follows a small write at the end of a file in this folder.
pub fn sync_times(folder: &Path, count: usize) -> Result<Vec<Duration>> {
    let folder = tempfile::tempdir_in(folder)?;
    let mut file = File::create(folder.path().join("sync"))?;
    // A log is written again from its beginning, so most of its syncs don't change its size.
    file.write_all(&vec![0; PASS * CHANGE.len()])?;
    file.sync_all()?;
    let mut each = Vec::with_capacity(count);
    for number in 0..count {
        if number % PASS == 0 {
            file.rewind()?;
        }
        file.write_all(&CHANGE)?;
        let began = Instant::now();
        file.sync_data()?;
        each.push(began.elapsed());
    }
    Ok(each)
}
