//! In-VM switches, and the queue pairs that they and all others need.

use super::file::File;
use super::{Policy, Vm, Wrong, text_of, wrong};
use sluice_flows::SwitchPorts;

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

    /// Checks the flow tables of in-VM switches, whose files with flows are read, and who has such a switch as uplink.
    pub(super) fn check_switches(&mut self, file: &File) -> Result<(), Wrong> {
        for (id, entry) in file.vms.iter().enumerate() {
            let named = |what| format!("vm \"{}\": {what}", entry.name.get_ref());
            match self.check_flows(id) {
                Ok(rules) => self.vms[id].rules = rules,
                Err(what) => return wrong(entry.at("flows"), named(what)),
            }
            let vm = &self.vms[id];
            if let Some((key, what)) = self.wrong_uplink(vm) {
                return wrong(entry.at(key), named(format!("{key}: {what}")));
            }
        }
        Ok(())
    }

    /// Checks the flow table of VM `id`, if it has one. Returns the text of its file with flows.
    fn check_flows(&self, id: usize) -> Result<Option<String>, String> {
        let vm = &self.vms[id];
        let Some(flows) = &vm.flows else { return Ok(None) };
        if vm.ram_len.is_none() || vm.window_file.is_some() {
            return Err("flows: only a process has an in-VM switch: a VM with ram_mib, and without window_file".into());
        }
        flows.check(self.senders_to(id).len()).map_err(|error| error.to_string())?;
        let Some(name) = flows.file() else {
            let is_known = flows.switch == "learning";
            let what = "only \"learning\", and a file with flows, are possible here";
            return if is_known { Ok(None) } else { Err(format!("flows: switch \"{}\": {what}", flows.switch)) };
        };
        let text = text_of(&self.folder.join(name)).map_err(|error| format!("flows: {name}: {error}"))?;
        self.switch_ports(id).check(flows, &text).map_err(|error| error.to_string())?;
        Ok(Some(text))
    }

    /// Returns the ports of VM `id`'s in-VM switch.
    pub fn switch_ports(&self, id: usize) -> SwitchPorts<'_> {
        SwitchPorts::new(&self.vms[id].peers, &self.senders_to(id), |id| &self.vms[id].name)
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
