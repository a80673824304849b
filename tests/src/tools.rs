//! Programs of others that tests need.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory of moto's server, boto3's Python and the AWS CLI, installed on the first call.
///
/// * returns: an absolute path; the failure is a text that says how to get what is missing.
///
/// A tool that is missing fails the test that needs it; no test is skipped for it.
pub fn aws_clients() -> Result<PathBuf, String> {
    tool("aws-clients", &[])
}

/// The directory of Ansible's programs and of its linters, installed on the first call; see [`aws_clients`].
pub fn ansible() -> Result<PathBuf, String> {
    tool("ansible", &[])
}

/// The directory of Packer and of its plugin for Amazon, built on the first call; see [`aws_clients`].
pub fn packer() -> Result<PathBuf, String> {
    tool("hashicorp", &[OsStr::new("packer"), OsStr::new("packer-plugin-amazon")])
}

/// The directory of the Python that reads Jenkinsfiles, installed on the first call; see [`aws_clients`].
pub fn jenkins() -> Result<PathBuf, String> {
    tool("jenkins", &[])
}

/// The root file system of Debian's own image, made on the first call; see [`aws_clients`].
pub fn debian() -> Result<PathBuf, String> {
    tool("rootfs", &[OsStr::new("debian")])
}

/// The image that a node's is made of, baked into a directory on the first call.
pub fn base_image() -> Result<PathBuf, String> {
    tool("image", &[])
}

/// The image of a node, baked into a directory on the first call; its manifest is beside it, with `.json` after its name.
///
/// * `package`: the Debian package of the agent.
pub fn image(package: &Path) -> Result<PathBuf, String> {
    tool("image", &[package.as_os_str()])
}

fn tool(name: &str, arguments: &[&OsStr]) -> Result<PathBuf, String> {
    let script = format!("{}/tools/{name}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(&script).args(arguments).output();
    let output = output.map_err(|error| format!("cannot run {script}: {error}"))?;
    if output.status.success() {
        Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    } else {
        Err(format!("run tests/run setup first: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
