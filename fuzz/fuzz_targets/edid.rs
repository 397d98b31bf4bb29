//! EDIDs, from the kernel and from the X server: both ways see the same screen, in the protocol's spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_fuzz::{answer, inventory, machine, machine_with, put};
use oco_protocol::inventory::{Screen, UNKNOWN};
use std::fmt::Write;

fuzz_target!(|edid: &[u8]| {
    let mut kernel = machine_with("/sys/class/drm/card0-DP-1/edid", edid);
    put(&mut kernel, "/sys/class/drm/card0-DP-1/status", b"connected\n");
    let screens = inventory(kernel, edid.len()).screens.expect("a list");
    assert!(screens.len() <= 1);
    screens.iter().for_each(check);
    assert_eq!(
        inventory(behind_an_x_server(edid), edid.len()).screens,
        Some(screens)
    );
});

/// The same monitor, where the kernel's driver keeps it to itself.
fn behind_an_x_server(edid: &[u8]) -> oco_agent::host::recorded::Recording {
    let mut output = "DP-1 connected 1920x1080+0+0\n\tEDID: \n".to_owned();
    for line in edid.chunks(16) {
        output.push_str("\t\t");
        line.iter()
            .for_each(|byte| write!(output, "{byte:02x}").expect("a text takes everything"));
        output.push('\n');
    }
    let mut x = machine();
    put(&mut x, "/tmp/.X11-unix/X0", b"");
    put(&mut x, "/usr/bin/xrandr", b"");
    answer(&mut x, "xrandr --display :0 --verbose", output.as_bytes());
    x
}

fn check(screen: &Screen) {
    let pair = |text: &str, separator: char| {
        text.split_once(" x ").is_some_and(|(width, height)| {
            let number = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == separator);
            number(width) && number(height)
        })
    };
    assert!(
        screen.resolution == UNKNOWN || pair(&screen.resolution, '0'),
        "{screen:?}"
    );
    assert!(screen.size == UNKNOWN || pair(&screen.size, '.'), "{screen:?}");
    assert!(!screen.name.is_empty() && !screen.manufacturer.is_empty() && !screen.serialno.is_empty());
    assert_eq!(screen.kind.len(), 4);
    assert!(["digital", "analog"].contains(&screen.technology.as_str()));
}
