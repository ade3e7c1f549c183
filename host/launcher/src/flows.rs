//! The in-VM switches of processes: their flow memory, and what is said of them.
//!
//! A process has its peers' memory mapped, and no one can take that away. So one that does not report in time that it
//! is done with a change is ended.

use crate::Options;
use crate::files::{self, FileError};
use crate::launch::LaunchError;
use crate::memory;
use crate::openvswitch::Bridge;
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, clock_gettime};
use sluice_control::Manifest;
use sluice_flows::{FlowSetup, FlowSwitches};
use std::io;
use std::os::fd::OwnedFd;

/// The files of one process's flow memory: the table, and the records.
pub type FlowFiles = [OwnedFd; 2];

/// Returns the bridges of Open vSwitch behind the in-VM switches of `manifest`.
pub fn bridges(manifest: &Manifest) -> Result<Vec<Bridge>, LaunchError> {
    let open = |id: usize| {
        let wrong = |error| LaunchError::OpenVswitch { vm: manifest.vms[id].name.clone(), error };
        Bridge::open(manifest, id).map_err(wrong)
    };
    Ok((0..manifest.vms.len()).map(open).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Returns the time of the lease, in nanoseconds: that of the processes.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Returns the in-VM switches of `manifest`, and the files of their memory, by VM.
pub fn prepare(options: &Options, manifest: &Manifest) -> Result<(FlowSwitches, Vec<Option<FlowFiles>>), LaunchError> {
    let mut switches = FlowSwitches::new(manifest.vms.len());
    let mut all = Vec::new();
    for (id, vm) in manifest.vms.iter().enumerate() {
        let Some(config) = &vm.flows else {
            all.push(None);
            continue;
        };
        let system = |error| LaunchError::System { vm: vm.name.clone(), what: "flow table".into(), error };
        let wrong = |error| LaunchError::Flows { vm: vm.name.clone(), error };
        let text = config.file().map(|name| text(options, vm.name.as_str(), name)).transpose()?;
        let (table_len, records_len) = FlowSetup::lens(config).map_err(wrong)?;
        let (table_file, table) = memory::own("flows", table_len).map_err(system)?;
        let records_file = memory::ram("flow records", records_len).map_err(system)?;
        let records = memory::map(&records_file, records_len).map_err(system)?;
        let seed = seed().map_err(system)?;
        let setup = FlowSetup { memory: (table, records), seed, file: text.as_deref(), has_outside: true };
        switches.add(manifest, id, setup).map_err(wrong)?;
        all.push(Some([table_file, records_file]));
    }
    Ok((switches, all))
}

fn text(options: &Options, vm: &str, name: &str) -> Result<String, LaunchError> {
    let path = options.files.join(name);
    files::read(&path).map_err(|error| {
        FileError::Named {
            vm: vm.into(),
            what: "flows",
            name: name.into(),
            why: error.to_string(),
            folder: options.files.clone(),
        }
        .into()
    })
}

fn seed() -> io::Result<[u64; 2]> {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    let (words, _) = bytes.as_chunks();
    Ok([u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])])
}
