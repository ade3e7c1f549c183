//! In-VM switches, and the queue pairs that they and all others need.

use super::file::File;
use super::{Policy, Vm, Wrong, wrong};

impl Policy {
    /// Checks that a process has a queue pair for each VM that puts frames into its queues by itself. Those that do so
    /// with a front-end's share one where it has too few.
    pub(super) fn check_pairs(&self, file: &File) -> Result<(), Wrong> {
        for (id, vm) in self.vms.iter().enumerate() {
            let needed = 1 + self.senders_to(id).len() + usize::from(vm.flows.is_some());
            if vm.ram_len.is_some() && usize::from(vm.pairs) < needed {
                let (name, pairs) = (&vm.name, vm.pairs);
                let slow = if vm.flows.is_some() { ", one for frames without a flow" } else { "" };
                let what =
                    format!("pairs: {pairs}; {needed} are needed: one for the switch{slow}, and one for each sender");
                return wrong(file.vms[id].at("pairs"), format!("vm \"{name}\": {what}"));
            }
        }
        Ok(())
    }

    /// Checks the flow tables of in-VM switches, and who has such a switch as uplink.
    pub(super) fn check_switches(&self, file: &File) -> Result<(), Wrong> {
        for (id, (vm, entry)) in self.vms.iter().zip(&file.vms).enumerate() {
            if let Err(what) = self.check_flows(id) {
                return wrong(entry.at("flows"), format!("vm \"{}\": {what}", vm.name));
            }
            if let Some((key, what)) = self.wrong_uplink(vm) {
                return wrong(entry.at(key), format!("vm \"{}\": {key}: {what}", vm.name));
            }
        }
        Ok(())
    }

    fn check_flows(&self, id: usize) -> Result<(), String> {
        let vm = &self.vms[id];
        let Some(flows) = &vm.flows else { return Ok(()) };
        if vm.ram_len.is_none() || vm.window_file.is_some() {
            return Err("flows: only a process has an in-VM switch: a VM with ram_mib, and without window_file".into());
        }
        flows.check(self.senders_to(id).len()).map_err(|error| error.to_string())?;
        if flows.switch != "learning" {
            return Err(format!("flows: switch \"{}\": only \"learning\" is possible here", flows.switch));
        }
        Ok(())
    }

    /// Returns what is wrong with the uplink of a VM, if it has one, and the key.
    fn wrong_uplink(&self, vm: &Vm) -> Option<(&'static str, String)> {
        let uplink = vm.uplink?;
        let name = &self.vms[uplink].name;
        let checks = [
            (self.vms[uplink].flows.is_none(), "uplink", format!("\"{name}\" has no in-VM switch: no flows")),
            (vm.flows.is_some(), "uplink", "an in-VM switch has none: what it sends itself goes by its windows".into()),
            (vm.peers.contains(&uplink), "uplink", format!("\"{name}\" is one of its peers already")),
            (vm.mtu > self.vms[uplink].mtu, "uplink", format!("its mtu is {}, that of \"{name}\" less", vm.mtu)),
            (!vm.lan.is_empty(), "lan", format!("all frames go to the uplink \"{name}\", and nowhere else")),
        ];
        checks.into_iter().find(|(is_wrong, ..)| *is_wrong).map(|(_, key, what)| (key, what))
    }
}
