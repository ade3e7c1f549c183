//! What counts, what a ratio is of, and that frames pass.

use super::*;
use crate::tests::built;
use cores::Look;
use vhost_peers::Format;
use xtask::artifacts;

fn look(slower: u64, round_trip: f64) -> Look {
    Look { slower, round_trip }
}

fn turn(before: Look, after: Look, windows: &[(f64, f64)]) -> Turn {
    Turn { any: false, before, after, windows: windows.to_vec() }
}

#[test]
fn a_window_counts_if_its_processes_had_both_processors_at_their_best() {
    let windows = [(1.0, 0.99), (2.0, 0.97), (3.0, 0.98)];
    let counting = |turn: &Turn| turn.counting(100).collect::<Vec<_>>();
    assert_eq!(counting(&turn(look(115, 50.0), look(100, 50.0), &windows)), [1.0, 3.0]);
    assert_eq!(counting(&turn(look(100, 50.0), look(116, 50.0), &windows)), [0.0; 0]);
    let all = Turn { any: true, ..turn(look(116, 50.0), look(116, 50.0), &windows) };
    assert_eq!(counting(&all), [1.0, 2.0, 3.0]);
}

#[test]
fn a_ratio_is_of_turns_with_like_round_trips() {
    let at = |trip: f64, frames: f64| turn(look(100, trip), look(100, trip), &[(frames, 1.0)]);
    let ours = [at(100.0, 12.0), at(100.0, 90.0), at(480.0, 4.0)];
    let theirs = [at(120.0, 4.0), at(480.0, 1.0), at(400.0, 2.0)];
    let row = row(VmsRow::default(), &ours, Some(&theirs), 100);
    assert_eq!((row.ratio_to_testpmd, row.like_rounds), (Some(3.0), 2));
    assert_eq!((row.mpps, row.quiet_windows, row.windows), (Some(12.0), 3, 3));
    let moved = turn(look(100, 100.0), look(100, 126.0), &[(12.0, 1.0)]);
    let alone = figures::row(VmsRow::default(), &[moved], Some(&theirs[..1]), 100);
    assert_eq!((alone.ratio_to_testpmd, alone.like_rounds), (None, 0));
}

#[test]
fn the_rate_of_a_port_is_what_testpmd_says_of_frames_that_it_received() {
    let said =
        "  RX-packets: 7\n\n  Throughput (since last show)\n  Rx-pps:      1234          Rx-bps:   99\n  Tx-pps: 1";
    assert_eq!((hops::rate(said), hops::rate("Rx-bps: 1")), (Some(1234.0), None));
}

#[test]
fn frames_go_to_and_fro_through_a_switch_and_by_a_window_with_testpmd() {
    let programs = tempfile::tempdir().unwrap();
    let all = [("sluiced", "debug"), ("generator", "release")];
    for (name, folder) in all {
        let Some(program) = built(artifacts::target_dir().join(folder).join(name)) else { return };
        std::os::unix::fs::symlink(program, programs.path().join(name)).unwrap();
    }
    let processors = crate::clock::processors();
    if processors.len() < 2 {
        return;
    }
    let options = Options { frame: vec![64], seconds: 0, programs: programs.path().into() };
    let ways = [Format::Split, Format::Packed].map(|format| [Way::Testpmd(format), Way::Window(format)]);
    let mut rows = Vec::new();
    let print = |row: &VmsRow| {
        rows.push(row.clone());
        Ok(())
    };
    measure(&options, &processors, ways.as_flattened(), print).unwrap();
    assert_eq!(rows.len(), 4);
    for (rows, ring) in rows.chunks(2).zip(["split", "packed"]) {
        let [theirs, ours] = rows else { panic!("{rows:?}") };
        assert!(theirs.mpps > Some(0.0) && theirs.ratio_to_testpmd.is_none() && theirs.hops == 2, "{theirs:?}");
        assert!(ours.mpps > Some(0.0) && ours.ratio_to_testpmd.is_some() && ours.like_rounds == 1, "{ours:?}");
        assert!(rows.iter().all(|row| row.ring == ring), "{rows:?}");
    }
}
