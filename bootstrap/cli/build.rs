//! How the program is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A program that may be loaded anywhere has 42,000 places to set right: a megabyte, or twenty kilobytes as glibc reads them
    // since 2.36, which Debian 12 has.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}
