//! sluice-runtime.
#![no_std]
