//! The launcher as its users have it, with shell scripts as images: how its runs end, and what it says.

mod common;
mod ends;
mod openvswitch;
mod says;
