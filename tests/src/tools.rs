//! Programs of others that tests need.

use std::path::PathBuf;
use std::process::Command;

/// The directory of moto's server, boto3's Python and the AWS CLI, installed on the first call.
///
/// * returns: an absolute path; the failure is a text that says how to get what is missing.
///
/// A tool that is missing fails the test that needs it; no test is skipped for it.
pub fn aws_clients() -> Result<PathBuf, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/aws-clients");
    let output = Command::new(script).output().map_err(|error| format!("cannot run {script}: {error}"))?;
    if output.status.success() {
        Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    } else {
        Err(format!("run tests/run setup first: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
