//! Mounted file systems: those that df(1) lists, with what udev, the device mapper and ZFS know of them.

use super::block_devices::BlockDevices;
use crate::host::{Command, Host, Space};
use crate::inventory::field::{CollectError, Result, command_output, field, lossy, read_text};
use mounts::Mount;
use oco_protocol::inventory::Partition;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

mod mounts;

/// How long another machine, or somebody's program, may take to tell the space of its file system.
const REMOTE_TIME_LIMIT: Duration = Duration::from_secs(3);
/// How many of them may let that pass; then the others are not asked, so that the part ends in time.
const REMOTE_FAILURES: usize = 3;

/// The mounted file systems, each once. One that does not tell its space is left out.
pub(super) fn collect(host: &dyn Host) -> Result<Vec<Partition>> {
    let mountinfo = read_text(host, "/proc/self/mountinfo")?;
    let devices = BlockDevices::read(host);
    let mounts = mounts::parse(&mountinfo);
    let mounts = mounts::listed(&mounts);
    let zfs = if mounts.iter().any(|mount| mount.filesystem == "zfs") {
        field("partitions.encrypted", encrypted_datasets(host)).unwrap_or_default()
    } else {
        BTreeSet::new()
    };
    let (mut partitions, mut failures) = (Vec::with_capacity(mounts.len()), 0);
    for mount in mounts {
        if mount.may_hang() && failures >= REMOTE_FAILURES {
            tracing::warn!(
                mountpoint = mount.mountpoint,
                "a file system is left out: others did not answer"
            );
            continue;
        }
        match space(host, mount) {
            Ok(space) if space.used > 0 || space.available > 0 => {
                partitions.push(partition(&devices, &zfs, mount, space));
            }
            Ok(_) => {}
            Err(error) => {
                failures += usize::from(mount.may_hang());
                tracing::debug!(%error, mountpoint = mount.mountpoint, "a file system is left out");
            }
        }
    }
    Ok(partitions)
}

fn partition(devices: &BlockDevices<'_>, zfs: &BTreeSet<String>, mount: &Mount, space: Space) -> Partition {
    let members = devices.members(&mount.source, &mount.filesystem);
    // udev knows the label and the UUID of a file system on several devices by one of them.
    let known = |of: fn(&BlockDevices<'_>, &str) -> String| {
        let mut known = members.iter().map(|member| of(devices, member));
        known.find(|text| !text.is_empty()).unwrap_or_default()
    };
    Partition {
        name: known(|devices, member| devices.label(member)),
        uuid: known(|devices, member| devices.uuid(member)),
        encrypted: if mount.filesystem == "zfs" {
            zfs.contains(&mount.source)
        } else {
            !members.is_empty() && members.iter().all(|member| devices.is_encrypted(member))
        },
        device: mount.source.clone(),
        mountpoint: mount.mountpoint.clone(),
        filesystem: mount.filesystem.clone(),
        size: space.used.saturating_add(space.available),
        free: space.available,
    }
}

/// A file system that may never answer is asked by another process, which can be given up.
fn space(host: &dyn Host, mount: &Mount) -> Result<Space> {
    if !mount.may_hang() {
        return Ok(host.space(Path::new(&mount.mountpoint))?);
    }
    let command = Command {
        program: "stat",
        args: &["-f", "-c", "%S %b %f %a", "--", &mount.mountpoint],
        time_limit: REMOTE_TIME_LIMIT,
    };
    let output = host.run(&command)?;
    parse_stat(&lossy(output.stdout)).ok_or_else(|| CollectError::Command {
        command: command.to_string(),
        code: output.code,
    })
}

/// Size of a block in bytes, then blocks: all, those that are free, those that users may have.
fn parse_stat(output: &str) -> Option<Space> {
    let numbers: Option<Vec<u64>> = output.split_whitespace().map(|word| word.parse().ok()).collect();
    let [block, all, free, available] = *numbers?.as_slice() else {
        return None;
    };
    Some(Space {
        used: all.saturating_sub(free).checked_mul(block)?,
        available: available.checked_mul(block)?,
    })
}

/// ZFS encrypts its datasets itself.
fn encrypted_datasets(host: &dyn Host) -> Result<BTreeSet<String>> {
    let args = ["get", "-H", "-t", "filesystem", "-o", "name,value", "encryption"];
    Ok(parse_zfs(&lossy(command_output(host, "zfs", &args)?)))
}

/// Name and cipher, separated by a tabulator.
fn parse_zfs(output: &str) -> BTreeSet<String> {
    let datasets = output.lines().filter_map(|line| line.split_once('\t'));
    datasets
        .filter(|(_, cipher)| !matches!(cipher.trim(), "off" | "-" | ""))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_become_bytes() {
        let space = |used, available| Some(Space { used, available });
        assert_eq!(parse_stat("4096 1000 600 500\n"), space(400 * 4096, 500 * 4096));
        assert_eq!(parse_stat("1024 10 20 5"), space(0, 5 * 1024));
        for wrong in [
            "",
            "4096 1000 600",
            "4096 1000 600 x",
            "1 2 3 4 5",
            "18446744073709551615 9 1 2",
        ] {
            assert_eq!(parse_stat(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn datasets_with_a_cipher_are_encrypted() {
        let output = "rpool\toff\nrpool/home\taes-256-gcm\nrpool/old\t-\nrpool/on\ton\nshort\n";
        assert_eq!(
            parse_zfs(output),
            ["rpool/home", "rpool/on"].map(str::to_owned).into()
        );
    }

    proptest! {
        #[test]
        fn no_output_panics(output in "([0-9]{1,20} |\t|off|\n|\\PC)*") {
            parse_stat(&output);
            parse_zfs(&output);
        }
    }
}
