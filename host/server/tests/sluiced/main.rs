//! The server as a process: with our own front-ends, testpmd, the firmware of QEMU, and Linux in QEMU.

mod closing;
mod control;
mod ends;
mod exchange;
mod hostile;
mod lab;
mod linux;
mod log;
mod manual;
mod package;
mod processes;
mod prometheus;
mod qemu;
mod reconnect;
mod reload;
mod sandbox;
mod stranger;
mod systemd;
mod testpmd;
mod windows;
