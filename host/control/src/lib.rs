//! sluice-control.
#![no_std]
