//! Property lists of a Mac, XML or binary, wherever the agent reads some: a program's, the system's version, and what
//! `ioreg`, `diskutil` and `dscl` answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_agent::host::Os;
use oco_fuzz::{answer, inventory, machine_with};

const ANSWERS: [&str; 4] = [
    "ioreg -a -r -d 1 -c IOPlatformExpertDevice",
    "ioreg -a -l -p IOUSB",
    "diskutil info -plist /dev/disk1s1",
    "dscl -plist . -readall /Users UniqueID PrimaryGroupID RealName NFSHomeDirectory UserShell AuthenticationAuthority",
];
const FILES: [&str; 2] = [
    "/System/Library/CoreServices/SystemVersion.plist",
    "/Applications/Fuzzed.app/Contents/Info.plist",
];

fuzz_target!(|bytes: &[u8]| {
    let mut machine = machine_with(FILES[0], bytes);
    machine.files.insert(FILES[1].to_owned(), bytes.to_owned());
    machine.machine.os = Os::MacOs;
    answer(
        &mut machine,
        "mount",
        b"/dev/disk1s1 on / (apfs, local, journaled)\n",
    );
    for command in ANSWERS {
        answer(&mut machine, command, bytes);
    }
    // It is read in six places.
    let inventory = inventory(machine, bytes.len() * (ANSWERS.len() + FILES.len()));
    assert!(inventory.software.is_none_or(|software| software.len() <= 1));
    assert!(
        inventory
            .partitions
            .is_none_or(|partitions| partitions.len() <= 1)
    );
});
