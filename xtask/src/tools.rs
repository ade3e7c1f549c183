//! Tools that commands need. Each function installs what is missing; its error says in one line what can't be had.

use crate::progress::step;
use anyhow::{Context, Error, Result, bail};
use sluice_tests_qemu::Linux;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The bare-metal target.
pub const TARGET: &str = "x86_64-unknown-none";

/// A Debian package and a file that shows it is there.
type Package = (&'static str, &'static str);

const EMULATOR: [Package; 7] = [
    ("bochs", "/usr/bin/bochs"),
    ("bochs-term", "/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so"),
    ("bochsbios", "/usr/share/bochs/BIOS-bochs-latest"),
    ("vgabios", "/usr/share/bochs/VGABIOS-lgpl-latest"),
    ("grub-common", "/usr/bin/grub-mkrescue"),
    ("grub-pc-bin", "/usr/lib/grub/i386-pc/multiboot2.mod"),
    ("xorriso", "/usr/bin/xorriso"),
];

/// Also needed for an image that boots by UEFI.
const UEFI: [Package; 2] =
    [("grub-efi-amd64-bin", "/usr/lib/grub/x86_64-efi/multiboot2.mod"), ("mtools", "/usr/bin/mformat")];

/// Tools to boot such an image where there is no VMX, and VMs from the network.
const QEMU: [Package; 4] = [
    ("qemu-system-x86", "/usr/bin/qemu-system-x86_64"),
    ("ovmf", "/usr/share/ovmf/OVMF.fd"),
    ("seabios", "/usr/share/seabios/bios-256k.bin"),
    ("ipxe-qemu", "/usr/lib/ipxe/qemu/pxe-virtio.rom"),
];

/// Tools that build the ring benchmark's library for DPDK.
const DPDK: [Package; 3] =
    [("libdpdk-dev", "/usr/include/dpdk/rte_vhost.h"), ("pkg-config", "/usr/bin/pkg-config"), ("gcc", "/usr/bin/gcc")];

/// Installs the bare-metal target.
pub fn bare_target() -> Result<(), String> {
    all(&[target()])
}

/// Installs DPDK's development files and a C compiler.
pub fn dpdk() -> Result<(), String> {
    all(&[packages(&DPDK)])
}

/// Builds the shared library `library` of the C files `sources`, for this processor and with DPDK.
pub fn compile_with_dpdk(sources: &[PathBuf], library: &Path) -> Result<()> {
    let flags = |what| output(Command::new("pkg-config").args([what, "libdpdk"]));
    let (compile, link) = (flags("--cflags")?, flags("--libs")?);
    let mut command = Command::new("gcc");
    command.args(["-O3", "-Wall", "-Wextra", "-shared", "-fPIC", "-o"]).arg(library).args(sources);
    // DPDK's flags name the oldest processor that it knows: this one comes after them.
    command.args(compile.split_whitespace()).arg("-march=native").args(link.split_whitespace());
    output(&mut command).map(drop)
}

/// The third-party peer of Sluice's rings.
const TESTPMD: [Package; 1] = [("dpdk-dev", "/usr/bin/dpdk-testpmd")];

/// The full switch of the tests, which start their own.
const OPENVSWITCH: [Package; 2] =
    [("openvswitch-common", "/usr/bin/ovs-ofctl"), ("openvswitch-switch", "/usr/sbin/ovs-vswitchd")];
/// Open vSwitch with DPDK, and what takes its place for a reading without a switch.
const OPENVSWITCH_DPDK: [Package; 2] =
    [("openvswitch-switch-dpdk", "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"), TESTPMD[0]];

/// Installs Open vSwitch with DPDK, and testpmd.
pub fn openvswitch_dpdk() -> Result<(), String> {
    all(&[packages(&OPENVSWITCH_DPDK)])
}

/// The tools that say what the examples' output must be, and write their input.
const ORACLES: [Package; 5] = [
    ("tcpreplay", "/usr/bin/tcprewrite"),
    ("python3-scapy", "/usr/lib/python3/dist-packages/scapy/__init__.py"),
    ("nftables", "/usr/sbin/nft"),
    ("iproute2", "/usr/sbin/ip"),
    ("tcpdump", "/usr/bin/tcpdump"),
];

/// Tools for network namespaces, and for what is on the wire between them.
const NAMESPACES: [Package; 3] = [ORACLES[3], ORACLES[4], ("util-linux", "/usr/bin/nsenter")];

/// Installs tcprewrite, scapy, nft, ip and tcpdump.
pub fn oracles() -> Result<(), String> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    FOUND.get_or_init(|| all(&[packages(&ORACLES)])).clone()
}

/// Installs the bare-metal target and the emulator.
pub fn emulator() -> Result<(), String> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    FOUND.get_or_init(|| all(&[target(), packages(&EMULATOR)])).clone()
}

/// Installs the tools for an image for a real machine.
pub fn uefi() -> Result<(), String> {
    all(&[target(), packages(&[&EMULATOR[4..], &UEFI].concat())])
}

/// Installs the tools for booting such an image in QEMU.
pub fn qemu() -> Result<(), String> {
    all(&[target(), packages(&[&EMULATOR[4..], &UEFI, &QEMU].concat())])
}

/// Installs DPDK's testpmd.
pub fn testpmd() -> Result<(), String> {
    all(&[packages(&TESTPMD)])
}

/// Installs QEMU and testpmd, and fetches what runs in guests to `folder`.
pub fn guests(folder: &Path) -> Result<(), String> {
    let linux = Linux::fetch(folder).map(drop).map_err(Error::msg);
    all(&[packages(&[QEMU[0], TESTPMD[0]]), linux])
}

/// Installs Open vSwitch.
pub fn openvswitch() -> Result<(), String> {
    all(&[packages(&OPENVSWITCH)])
}

/// Installs what hosts that are network namespaces need, and tries whether they can be had.
pub fn namespaces() -> Result<(), String> {
    let device = File::options().read(true).write(true).open("/dev/net/tun").map(drop).context("/dev/net/tun");
    let mut cable = Command::new("unshare");
    cable.args(["--net", "ip", "link", "add", "cable", "type", "veth", "peer", "name", "other"]);
    let tools = packages(&NAMESPACES);
    let cable = if tools.is_ok() { output(&mut cable).map(drop) } else { Ok(()) };
    all(&[tools, device, cable])
}

/// Installs what makes taps, and tries whether this user may make one.
pub fn taps() -> Result<(), String> {
    let wanted = [("iproute2", "/usr/sbin/ip"), ("perl-base", "/usr/bin/perl"), ("util-linux", "/usr/bin/setpriv")];
    all(&[packages(&wanted).and_then(|()| try_tap())])
}

/// Makes a tap, and deletes it.
fn try_tap() -> Result<()> {
    let name = format!("sl{:x}", std::process::id());
    for verb in ["add", "del"] {
        output(Command::new("ip").args(["tuntap", verb, "dev", &name, "mode", "tap"]))
            .context("a tap can't be made, which root may where /dev/net/tun is there")?;
    }
    Ok(())
}

/// Installs cargo-fuzz and the C++ compiler that the fuzzer's runtime needs.
pub fn fuzzer() -> Result<(), String> {
    all(&[packages(&[("g++", "/usr/bin/g++")]), program("cargo-fuzz")])
}

/// Installs cargo-nextest.
pub fn runner() -> Result<(), String> {
    all(&[program("cargo-nextest")])
}

/// Installs cargo-deny.
pub fn deny() -> Result<(), String> {
    all(&[program("cargo-deny")])
}

/// Joins all errors in one line.
fn all(parts: &[Result<()>]) -> Result<(), String> {
    let missing: Vec<_> =
        parts.iter().filter_map(|part| part.as_ref().err()).map(|error| format!("{error:#}")).collect();
    if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
}

fn target() -> Result<()> {
    let libraries = output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    let added =
        step(&format!("rustup target add {TARGET}"), || quiet(Command::new("rustup").args(["target", "add", TARGET])));
    if added { Ok(()) } else { bail!("the Rust target {TARGET} is missing: `rustup target add {TARGET}`") }
}

/// Installs a cargo command if it is missing.
fn program(name: &str) -> Result<()> {
    let there = || quiet(Command::new(name).arg("--version"));
    // Optimized they would take minutes to build, and have seconds of work.
    let install = || quiet(Command::new("cargo").args(["install", "--debug", "--locked", name]));
    if there() || (step(&format!("cargo install {name}"), install) && there()) {
        return Ok(());
    }
    bail!("{name} is missing: `cargo install --locked {name}`")
}

fn packages(wanted: &[Package]) -> Result<()> {
    let missing = |packages: &[Package]| -> Vec<&str> {
        packages.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(name, _)| *name).collect()
    };
    let names = missing(wanted);
    if names.is_empty() {
        return Ok(());
    }
    step(&format!("installing {}", names.join(" ")), || install(&names));
    let still = missing(wanted);
    if !still.is_empty() {
        bail!("missing: {names} (on Debian: `apt-get install {names}`)", names = still.join(" "));
    }
    Ok(())
}

/// Tries apt-get, as root or by a sudo that asks nothing.
fn install(names: &[&str]) {
    let apt = ["apt-get", "-o", "DPkg::Lock::Timeout=400", "-y", "--no-install-recommends"];
    for sudo in [&[][..], &["sudo", "-n"]] {
        let command = |verb: &[&str]| {
            let mut words = [sudo, &apt[..], verb].concat().into_iter();
            let mut command = Command::new(words.next().unwrap_or_default());
            command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
            quiet(&mut command)
        };
        let verb = [&["install"], names].concat();
        if command(&verb) || (command(&["update"]) && command(&verb)) {
            return;
        }
    }
}

fn quiet(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| program.clone())?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
