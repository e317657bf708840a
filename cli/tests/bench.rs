//! The workloads of `cargo xtask bench` run against this `wfg`. No time is asserted.

use std::process::Command;

use bench::target::{Program, Target};
use bench::{Sizes, WORKLOADS, compare_local, measure};

fn program() -> Program {
    Program { name: "wfg".to_owned(), path: env!("CARGO_BIN_EXE_wfg").into() }
}

#[test]
fn every_workload_measures_every_kind_of_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let (memory, disk) = (Target::Memory(program()), Target::Disk(program()));
    let peer = memory.start(folder.path()).expect("a server");
    let targets = [memory, disk, Target::Peer { host: peer.host.clone() }];
    let sizes = Sizes::least();
    for workload in WORKLOADS {
        let mut rows = Vec::new();
        measure(workload, &targets, folder.path(), &sizes, |row| rows.push(row)).expect(workload);
        assert!(rows.len() >= targets.len() && rows.len() % targets.len() == 0, "{workload}: {rows:?}");
        for (row, target) in rows.iter().zip(targets.iter().cycle()) {
            assert!(row.target == target.name() && row.per_second > 0.0 && row.p50_ms <= row.p99_ms, "{row:?}");
        }
    }
}

#[test]
fn graphs_run_with_make_and_with_wfg() {
    if Command::new("make").arg("--version").output().is_err() {
        eprintln!("there is no `make` here: nothing was compared");
        return;
    }
    let rows = compare_local(&[program()], &Sizes::least()).expect("measured");
    let names: Vec<&str> = rows.iter().map(|row| row.target.as_str()).collect();
    assert_eq!(names, ["make -j2", "wfg", "make -j2", "wfg"]);
}
