//! Processors and memory, from `/proc`.

use crate::host::Host;
use crate::inventory::field::{CollectError, Result, read_text};

/// Names of the processors, one line for each socket.
pub(super) fn cpu(host: &dyn Host) -> Result<String> {
    Ok(parse_cpuinfo(&read_text(host, "/proc/cpuinfo")?).join("\n"))
}

/// Memory that the kernel manages, bytes.
pub(super) fn ram(host: &dyn Host) -> Result<u64> {
    parse_meminfo(&read_text(host, "/proc/meminfo")?)
        .ok_or_else(|| CollectError::malformed("/proc/meminfo", "no line `MemTotal: N kB`"))
}

fn parse_meminfo(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total
        .trim()
        .strip_suffix("kB")?
        .trim_end()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// One block of `/proc/cpuinfo`, that is one logical processor.
#[derive(Default)]
struct Processor<'a> {
    socket: Option<&'a str>,
    name: Option<&'a str>,
    implementer: Option<&'a str>,
    part: Option<&'a str>,
}

fn parse_cpuinfo(cpuinfo: &str) -> Vec<String> {
    // Where the kernel names no sockets, each model counts once.
    let mut sockets: Vec<(Option<&str>, String)> = Vec::new();
    let mut board = None;
    for block in cpuinfo.split("\n\n") {
        let processor = parse_processor(block, &mut board);
        let Some(name) = processor.name() else { continue };
        let known = sockets.iter().any(|(socket, known)| match processor.socket {
            Some(_) => *socket == processor.socket,
            None => *known == name,
        });
        if !known {
            sockets.push((processor.socket, name));
        }
    }
    if sockets.is_empty() {
        return board.map(str::to_owned).into_iter().collect();
    }
    sockets.into_iter().map(|(_, name)| name).collect()
}

fn parse_processor<'a>(block: &'a str, board: &mut Option<&'a str>) -> Processor<'a> {
    let mut processor = Processor::default();
    for (key, value) in block.lines().filter_map(|line| line.split_once(':')) {
        let value = Some(value.trim()).filter(|value| !value.is_empty());
        match key.trim_end() {
            "physical id" => processor.socket = value,
            "model name" => processor.name = value,
            "CPU implementer" => processor.implementer = value,
            "CPU part" => processor.part = value,
            "Hardware" => *board = value,
            _ => {}
        }
    }
    processor
}

impl Processor<'_> {
    fn name(&self) -> Option<String> {
        let arm = || {
            let (implementer, part) = (self.implementer?, self.part?);
            let known = ARM_PARTS.iter().find(|(key, _)| *key == (implementer, part));
            Some(known.map_or_else(
                || format!("implementer {implementer} part {part}"),
                |(_, name)| (*name).to_owned(),
            ))
        };
        self.name.map(str::to_owned).or_else(arm)
    }
}

/// Names of processors that say only numbers: implementer and part of the Main ID Register, from the processors'
/// technical reference manuals.
const ARM_PARTS: [((&str, &str), &str); 24] = [
    (("0x41", "0xb76"), "ARM1176"),
    (("0x41", "0xc07"), "Cortex-A7"),
    (("0x41", "0xc08"), "Cortex-A8"),
    (("0x41", "0xc09"), "Cortex-A9"),
    (("0x41", "0xc0f"), "Cortex-A15"),
    (("0x41", "0xd03"), "Cortex-A53"),
    (("0x41", "0xd04"), "Cortex-A35"),
    (("0x41", "0xd05"), "Cortex-A55"),
    (("0x41", "0xd07"), "Cortex-A57"),
    (("0x41", "0xd08"), "Cortex-A72"),
    (("0x41", "0xd09"), "Cortex-A73"),
    (("0x41", "0xd0a"), "Cortex-A75"),
    (("0x41", "0xd0b"), "Cortex-A76"),
    (("0x41", "0xd0c"), "Neoverse N1"),
    (("0x41", "0xd0d"), "Cortex-A77"),
    (("0x41", "0xd40"), "Neoverse V1"),
    (("0x41", "0xd41"), "Cortex-A78"),
    (("0x41", "0xd44"), "Cortex-X1"),
    (("0x41", "0xd49"), "Neoverse N2"),
    (("0x41", "0xd4a"), "Neoverse E1"),
    (("0x41", "0xd4f"), "Neoverse V2"),
    (("0xc0", "0xac3"), "Ampere-1"),
    (("0x61", "0x022"), "Apple M1 (Icestorm)"),
    (("0x61", "0x023"), "Apple M1 (Firestorm)"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_socket_is_a_line() {
        let core =
            |socket, name| format!("processor\t: 0\nmodel name\t: {name}\nphysical id\t: {socket}\n\n");
        let cpuinfo = core(0, "Xeon A") + &core(0, "Xeon A") + &core(1, "Xeon A") + &core(1, "Xeon A");
        assert_eq!(parse_cpuinfo(&cpuinfo), ["Xeon A", "Xeon A"]);
    }

    #[test]
    fn processors_without_sockets_count_once_a_model() {
        let cpuinfo = "processor\t: 0\nmodel name\t: QEMU CPU\n\nprocessor\t: 1\nmodel name\t: QEMU CPU\n\n";
        assert_eq!(parse_cpuinfo(cpuinfo), ["QEMU CPU"]);
    }

    #[test]
    fn arm_numbers_become_names() {
        let core = |part| format!("processor : 0\nCPU implementer\t: 0x41\nCPU part\t: {part}\n\n");
        assert_eq!(
            parse_cpuinfo(&(core("0xd03") + &core("0xd03") + &core("0xd08"))),
            ["Cortex-A53", "Cortex-A72"]
        );
        assert_eq!(parse_cpuinfo(&core("0xfff")), ["implementer 0x41 part 0xfff"]);
        assert_eq!(
            parse_cpuinfo("processor: 0\n\nHardware\t: BCM2835\n"),
            ["BCM2835"]
        );
        assert!(parse_cpuinfo("").is_empty());
    }

    #[test]
    fn memory_is_reported_in_bytes() {
        assert_eq!(
            parse_meminfo("MemTotal:       16316412 kB\nMemFree: 1 kB\n"),
            Some(16_316_412 * 1024)
        );
        assert_eq!(parse_meminfo("MemFree: 1 kB\n"), None);
        assert_eq!(parse_meminfo("MemTotal: 18446744073709551615 kB\n"), None);
    }

    proptest! {
        #[test]
        fn no_content_panics(text in "((model name|physical id|CPU part|MemTotal)?[:\\t \n]|\\PC)*") {
            parse_cpuinfo(&text);
            parse_meminfo(&text);
        }
    }
}
