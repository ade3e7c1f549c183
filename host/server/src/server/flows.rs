//! In-VM switches: their flow tables, which the server writes, and the full switch behind each, which learns addresses
//! or goes by a file with flows.
//!
//! A VM whose uplink is an in-VM switch sends all its frames there: the server carries them into the queue pair that
//! the VM has at that switch. The switch puts them into the queues of its peers by windows, as its table says, and
//! returns those that match no entry by its slow path.
//!
//! A process that does not report that it is done with a change of its table could still go by what is gone. It is
//! ended, as one that stays in a window.

use super::{Server, ServerError};
use crate::policy::Policy;
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, clock_gettime};
use sluice_abi::handover::FLOW_FILES;
use sluice_flows::{FlowSetup, FlowSwitches, SetupError, Windows};
use sluice_vhost_user::memory::Mapping;
use sluice_vhost_user::sealed::{resizable_by_nobody, written_here};
use std::fs::File;
use std::io;

/// The files of one VM's flow memory: the table, which only this process writes, and the records.
pub type FlowFiles = [File; FLOW_FILES];

/// In-VM switches, and the files of each that is new, by VM.
pub(super) type Made = (FlowSwitches, Vec<Option<FlowFiles>>);

/// Why there is no in-VM switch.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// The table can't be made.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// There is no memory.
    #[error("flows: {0}")]
    Memory(#[from] io::Error),
}

/// Returns the time of leases and of the switch, in nanoseconds: that of the processes.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Makes the in-VM switches of `policy` that `is_new` says of, and the files of each.
pub(super) fn create(policy: &Policy, is_new: impl Fn(usize) -> bool) -> Result<Made, ServerError> {
    let (mut switches, mut files) = (FlowSwitches::new(policy.vms.len()), Vec::new());
    for id in 0..policy.vms.len() {
        let made = if is_new(id) { add(&mut switches, policy, id) } else { Ok(None) };
        let named = |error| ServerError::Flows { vm: policy.vms[id].name.clone(), error };
        files.push(made.map_err(named)?);
    }
    Ok((switches, files))
}

/// Adds the in-VM switch of VM `id`, if it has one. Its memory stays mapped for as long as this process lives, whatever
/// becomes of the policy.
fn add(switches: &mut FlowSwitches, policy: &Policy, id: usize) -> Result<Option<FlowFiles>, FlowError> {
    let Some(config) = &policy.vms[id].flows else { return Ok(None) };
    let (table_len, records_len) = FlowSetup::lens(config)?;
    let (table_file, table) = written_here("sluice flows", table_len)?;
    let records_file = resizable_by_nobody("sluice flow records", records_len)?;
    let records = Mapping::of_file(&records_file, 0, records_len)?;
    let mut seed = [[0; 8]; 2];
    getrandom(seed.as_flattened_mut(), GetRandomFlags::empty()).map_err(io::Error::from)?;
    let [table, records]: [&'static Mapping; 2] = [table, records].map(|mapping| &*Box::leak(Box::new(mapping)));
    let memory = (table.slice(), records.slice());
    let setup = FlowSetup {
        memory,
        seed: seed.map(u64::from_ne_bytes),
        file: policy.vms[id].rules.as_deref(),
        has_outside: false,
    };
    switches.put(id, (config, policy.ageing.as_nanos() as u64), &policy.switch_ports(id), setup)?;
    Ok(Some([table_file, records_file]))
}

impl Server {
    /// Looks after the tables of all in-VM switches, and ends those that do not report in time. Returns whether any is
    /// there.
    pub(super) fn look_after_flows(&mut self) -> bool {
        let mut late = Vec::new();
        self.flows.turn(now(), |vm, windows| {
            if windows == Windows::Close {
                late.push(vm as usize);
            }
        });
        for vm in late {
            self.close(vm, "its in-VM switch does not report that a change of the flow table is done", false);
        }
        (0..self.policy.vms.len()).any(|vm| self.policy.vms[vm].flows.is_some() && self.connection(vm).is_some())
    }
}
