//! sluice-inside.
#![no_std]
