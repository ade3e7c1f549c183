//! The parts of `cargo xtask check`, each a test: tests/house is one of its own.

use anyhow::Result;
use xtask::check;

#[track_caller]
fn clean(part: fn() -> Result<Option<String>>) {
    match part() {
        Ok(remark) => println!("{}", remark.unwrap_or_default()),
        Err(why) => panic!("{why:#}"),
    }
}

#[test]
fn sources_are_formatted() {
    clean(check::formatting);
}

#[test]
fn clippy_has_nothing_to_say() {
    clean(check::lints);
}

#[test]
fn deny_finds_no_license_source_or_version_that_is_not_allowed() {
    clean(check::dependencies);
}

#[test]
fn documentation_has_no_broken_link() {
    clean(check::documentation);
}
