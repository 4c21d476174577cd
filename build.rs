//! Leaves the tables for unwinding out of the shipped program.
//!
//! A release aborts where it panics, so nothing ever reads them; they are an eighth of the program. The compiler leaves them
//! out only where everything is built so, tests included, hence the linker is told. Linkers other than ELF's are left alone.

use std::env;
use std::fs;
use std::path::PathBuf;

const SCRIPT: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.eh_frame.*) } } INSERT AFTER .text;\n";

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name, value| env::var_os(name).is_some_and(|found| found == value);
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") {
        let path = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("no-unwinding.ld");
        fs::write(&path, SCRIPT)?;
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr,-T,{}", path.display());
    }
    Ok(())
}
