//! sluice-driver.
#![no_std]
