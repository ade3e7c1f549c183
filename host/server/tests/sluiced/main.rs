//! The server as a process: with our own front-ends, testpmd, the firmware of QEMU, and Linux in QEMU.

mod control;
mod drain;
mod ends;
mod exchange;
mod host;
mod hostile;
mod hosts;
mod kernels;
mod lab;
mod linux;
mod log;
mod manual;
mod openvswitch;
mod package;
mod processes;
mod prometheus;
mod qemu;
mod reconnect;
mod reload;
mod sandbox;
mod stranger;
mod systemd;
mod tap;
mod tap_opens;
mod testpmd;
mod windows;
