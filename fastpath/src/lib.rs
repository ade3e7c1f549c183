//! sluice.
#![no_std]
