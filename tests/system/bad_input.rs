//! Bad input ends with one line that names what and where.

use crate::{build_hosted, embedded, example, in_bochs};
use std::fs;
use std::process::Command;
use xtask::{Report, Scenario, artifacts};

/// Returns a manifest with one VM that receives, changed by `change`.
fn manifest(change: impl Fn(String) -> String) -> Scenario {
    Scenario::new(change(
        "[[vm]]\nname = \"a\"\nram_mib = 8\nimage = \"microbench\"\nargs = \"receive\"\ngate = \"isolated\"\n".into(),
    ))
}

/// The bad manifests, and the line of both hosts about each.
fn cases() -> Vec<(Scenario, &'static str)> {
    vec![
        (manifest(|text| text.replace("[[vm]]", "[[vm")), "manifest: line 1: "),
        (manifest(|text| text.replace("= 8", "= \"8\"")), "manifest: line 3: "),
        (manifest(|text| text + "peers = [\"nobody\"]\n"), "manifest: vm \"a\": peer \"nobody\": no such vm"),
        (
            manifest(|text| text.replace("= 8", "= 4096")),
            "manifest: vm \"a\": ram_mib = 4096: an even number from 4 to 2048",
        ),
        (manifest(|text| text.replace("microbench", "nothing")), "vm \"a\": image \"nothing\": no such "),
        (manifest(|text| text + "modules = [\"no.pcap\"]\n"), "vm \"a\": module \"no.pcap\": no such "),
    ]
}

#[track_caller]
fn says(report: &Report, expected: &str) {
    let verdict = report.verdict.clone().expect("a verdict");
    assert!(verdict.as_ref().is_err_and(|reason| reason.starts_with(expected)), "{verdict:?}, not {expected}");
}

#[test]
fn the_monitor_names_what_is_wrong_in_bochs() {
    for (scenario, expected) in cases() {
        says(&in_bochs(&scenario), expected);
    }
}

#[test]
fn the_launcher_names_what_is_wrong() {
    for (scenario, expected) in cases() {
        says(&embedded(&scenario), expected);
    }
}

/// The monitor does not run a window image that was built of other sources than the monitor, nor one without a build
/// id.
#[test]
fn a_window_of_another_build_in_bochs_is_not_loaded() {
    artifacts::build_bare().expect("a build");
    let image = fs::read(artifacts::bare().join("window")).expect("the window image");
    let magic = image.windows(8).position(|bytes| bytes == b"SluiceId").expect("a build id");
    for (at, expected) in [(magic + 8, "module \"window\": build id "), (magic, "module \"window\": has no build id ")]
    {
        let mut other = image.clone();
        other[at] ^= 1;
        let mut scenario = manifest(|text| text);
        scenario.modules.push(("window".into(), other));
        says(&in_bochs(&scenario), expected);
    }
}

/// The last end of the VM counts.
fn starts_again(report: &Report) {
    says(report, "vm a exit code ");
    for line in ["vm a starts again, 1 of 2", "vm a starts again, 2 of 2"] {
        assert_eq!(report.lines.iter().filter(|it| it.ends_with(line)).count(), 1, "{:#?}", report.lines);
    }
    assert_eq!(report.lines.iter().filter(|it| it.contains("vm a exit code ")).count(), 4, "{:#?}", report.lines);
}

fn ending_badly() -> Scenario {
    manifest(|text| text.replace("receive", "nonsense") + "restarts = 2\n")
}

#[test]
fn a_vm_that_ends_badly_in_bochs_starts_again_as_often_as_the_manifest_says() {
    starts_again(&in_bochs(&ending_badly()));
}

#[test]
fn a_process_that_ends_badly_starts_again_as_often_as_the_manifest_says() {
    starts_again(&embedded(&ending_badly()));
    let peers = manifest(|text| {
        let again = text.clone() + "peers = [\"b\"]\nrestarts = 1\n";
        again + &text.replace("\"a\"", "\"b\"")
    });
    says(&embedded(&peers), "vm \"a\": restarts: a vm that has peers can't be started again here");
}

#[test]
fn ram_that_the_machine_does_not_have_is_refused_in_bochs() {
    let scenario = manifest(|text| text.replace("= 8", "= 2048"));
    says(&in_bochs(&scenario), "vm \"a\": ram_mib = 2048: more than this machine has left");
}

/// Images come as boot modules, so a module of any content can be named as one.
#[test]
fn an_image_that_is_no_program_is_refused_in_bochs() {
    let cases: [(&[u8], &str); 2] = [
        (b"not a program", "image \"odd\": not an ELF"),
        (&elf_outside_ram(), "image \"odd\": segment at 0x40000000 (4 bytes) is outside RAM"),
    ];
    for (image, expected) in cases {
        let mut scenario = manifest(|text| text.replace("microbench", "odd"));
        scenario.modules.push(("odd".into(), image.to_vec()));
        says(&in_bochs(&scenario), &format!("vm \"a\": {expected}"));
    }
}

/// Returns the smallest ELF file whose only segment lies at 1 GiB. See: System V ABI, "ELF Header" and "Program
/// Header".
fn elf_outside_ram() -> Vec<u8> {
    const AT: u64 = 1 << 30;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2u16, 62].iter().flat_map(|half| half.to_le_bytes()));
    file.extend(1u32.to_le_bytes());
    file.extend([AT, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
    file.extend(0u32.to_le_bytes());
    file.extend([64u16, 56, 1, 64, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
    file.extend([1u32, 5].iter().flat_map(|word| word.to_le_bytes()));
    file.extend([120u64, AT, AT, 4, 4, 4096].iter().flat_map(|word| word.to_le_bytes()));
    file.extend([0xf4; 4]);
    file
}

/// Returns the capture `mixed.pcap`, cut in the middle of a record.
fn truncated() -> Scenario {
    let mut scenario = example("pcap");
    let bytes = &mut scenario.modules[0].1;
    bytes.truncate(bytes.len() / 2);
    scenario
}

#[test]
fn a_truncated_capture_is_named_in_bochs() {
    let report = in_bochs(&truncated());
    assert!(report.says("[a] error: mixed.pcap: ") && report.verdict.is_some_and(|verdict| verdict.is_err()));
}

#[test]
fn a_truncated_capture_is_named() {
    let report = embedded(&truncated());
    assert!(report.says("[a] error: mixed.pcap: "), "{:#?}", report.lines);
    says(&report, "vm a exit code 1");
}

#[test]
fn the_launcher_exits_with_1_after_a_failure_and_with_0_otherwise() {
    build_hosted();
    let folder = tempfile::tempdir().expect("a folder");
    let run = |text: &str| {
        let path = folder.path().join("manifest.toml");
        fs::write(&path, text).expect("a file");
        let launcher = artifacts::hosted().join("sluice-launcher");
        let output =
            Command::new(launcher).arg("--images").arg(artifacts::hosted()).arg(path).output().expect("the launcher");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).lines().count())
    };
    assert_eq!(run("[[vm"), (Some(1), 1));
    let pair = example("microbench").args("a", "proof 100").expect("a manifest").manifest;
    assert_eq!(run(&pair).0, Some(0));
}
