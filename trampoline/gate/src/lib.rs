//! sluice-gate.
#![no_std]
