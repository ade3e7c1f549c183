//! The keys of the manifest for the switch: to whom it forwards, from which addresses, and what it captures.

use super::{Manifest, VmError};
use crate::network;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Deserializer, de};

/// Length in bytes of the longest name of a capture file.
const TAP_LEN: usize = 32;

/// The MAC address of one station, which is not a group address. See: IEEE 802 clause 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address that no station has. See: IEEE 802 clause 8.
    pub const NONE: Self = Self([0; 6]);

    /// Reads an address of six bytes in hexadecimal, two digits each, with colons between. Returns `None` if the text
    /// is none, or has the address of a group.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part =
                parts.next().filter(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        let whole = parts.next().is_none() && bytes[0] & 1 == 0 && bytes != Self::NONE.0;
        whole.then_some(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What an address is to be, for messages.
const WANTED: &str = "six bytes in hexadecimal with colons, not those of a group";

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format_args!("mac \"{text}\": {WANTED}")))
    }
}

/// Source addresses that a VM may use beside its device's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// All addresses that are no other VM's: the manifest says `any`.
    Any,
    /// The addresses of this list.
    These(Vec<Mac>),
}

impl Default for Addresses {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        if names.iter().any(|name| name == "any") {
            return Ok(Self::Any);
        }
        let wrong = |name: &String| de::Error::custom(format_args!("mac \"{name}\": {WANTED}, or \"any\""));
        let mac = |name: &String| Mac::parse(name).ok_or_else(|| wrong(name));
        names.iter().map(mac).collect::<Result<_, _>>().map(Self::These)
    }
}

impl Manifest {
    /// Returns the ids of the VMs to which the switch forwards frames of VM `id`.
    pub fn lan_of(&self, id: usize) -> impl Iterator<Item = usize> {
        let names = self.vms.get(id).map_or(&[][..], |vm| vm.lan.as_ref().unwrap_or(&vm.peers));
        names.iter().filter_map(|name| self.id_of(name))
    }

    pub(super) fn check_lan(&self, id: usize) -> Result<(), VmError> {
        let vm = &self.vms[id];
        let names = vm.lan.as_deref().unwrap_or_default();
        for (index, name) in names.iter().enumerate() {
            if self.id_of(name).is_none() {
                return Err(VmError::NoSuchPort(name.clone()));
            }
            if *name == vm.name {
                return Err(VmError::OwnPort(name.clone()));
            }
            if names[..index].contains(name) {
                return Err(VmError::Twice("lan", name.clone()));
            }
        }
        self.check_macs(id)?;
        self.check_tap(id)
    }

    /// Checks that VM `id` may not use the address of another VM, or an address that another VM may use.
    fn check_macs(&self, id: usize) -> Result<(), VmError> {
        let Addresses::These(macs) = &self.vms[id].macs else { return Ok(()) };
        for &mac in macs {
            let has = |other: usize| {
                let uses = matches!(&self.vms[other].macs, Addresses::These(macs) if macs.contains(&mac));
                network::mac(other) == mac.0 || other < id && uses
            };
            if let Some(other) = (0..self.vms.len()).find(|&other| other != id && has(other)) {
                return Err(VmError::MacOf(mac, self.vms[other].name.clone()));
            }
        }
        Ok(())
    }

    fn check_tap(&self, id: usize) -> Result<(), VmError> {
        let Some(name) = &self.vms[id].tap else { return Ok(()) };
        let bad = |part: char| part.is_whitespace() || part == '/';
        if name.is_empty() || name.len() > TAP_LEN || name.contains(bad) || name.starts_with('.') {
            return Err(VmError::TapName(name.clone()));
        }
        match self.vms[..id].iter().find(|other| other.tap.as_ref() == Some(name)) {
            Some(other) => Err(VmError::TapTwice(name.clone(), other.name.clone())),
            None => Ok(()),
        }
    }
}
