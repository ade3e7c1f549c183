//! The server as a process, with our own front-ends, and with testpmd.

mod control;
mod ends;
mod exchange;
mod hostile;
mod lab;
mod log;
mod manual;
mod package;
mod prometheus;
mod qemu;
mod reconnect;
mod reload;
mod testpmd;
