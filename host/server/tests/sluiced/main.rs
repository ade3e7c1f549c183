//! The server as a process: with our own front-ends, testpmd, the firmware of QEMU, and Linux in QEMU.

mod control;
mod drain;
mod ends;
mod exchange;
mod hostile;
mod lab;
mod linux;
mod log;
mod manual;
mod package;
mod prometheus;
mod qemu;
mod reconnect;
mod reload;
mod sandbox;
mod systemd;
mod testpmd;
