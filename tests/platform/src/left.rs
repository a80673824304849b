//! What a platform that ended has left of itself.

use std::fs;

/// Interfaces, control groups, mounts and machines that are still there; none: nothing.
pub fn behind(bridge: &str) -> Vec<String> {
    let mut left = Vec::new();
    if fs::exists(format!("/sys/class/net/{bridge}")).unwrap_or(true) {
        left.push(format!("the network {bridge}"));
    }
    for place in ["/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct"] {
        let names = fs::read_dir(place).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        left.extend(names.filter(|name| name.starts_with("muster-i-")).map(|name| format!("{place}/{name}")));
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let ours = |line: &&str| line.starts_with("overlay ") && line.contains("/muster-image-");
    left.extend(mounts.lines().filter(ours).map(|line| format!("the mount {line}")));
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if words.contains("systemd-nspawn") && words.contains(bridge) {
            left.push(format!("the process {words}"));
        }
    }
    left
}
