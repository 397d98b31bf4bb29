//! Screens: the EDIDs of connected monitors, from the kernel or, where its driver keeps them to itself, from the X server.

use super::attributes::{attribute, names};
use crate::host::Host;
use crate::inventory::edid;
use crate::inventory::field::{CollectError, Result, command_output, lossy};
use oco_protocol::inventory::Screen;
use std::path::Path;

/// Connectors are here as `card0-HDMI-A-1`, beside cards and other things.
const CONNECTORS: &str = "/sys/class/drm";

/// Sockets of X servers: `X0` for display `:0`.
const X_SERVERS: &str = "/tmp/.X11-unix";
const XRANDR: &str = "/usr/bin/xrandr";

/// All connected screens, those that are switched off or behind a closed lid too.
pub(super) fn collect(host: &dyn Host) -> Result<Vec<Screen>> {
    let connectors = names(host, CONNECTORS)?;
    let folders = connectors
        .iter()
        .filter(|name| name.starts_with("card") && name.contains('-'))
        .map(|name| format!("{CONNECTORS}/{name}"));
    let connected =
        folders.filter(|folder| attribute(host, folder, "status").as_deref() == Some("connected"));
    let edids = connected.filter_map(|folder| host.read_file(Path::new(&format!("{folder}/edid"))).ok());
    let screens = edid::screens(edids);
    if screens.is_empty() {
        from_x_servers(host)
    } else {
        Ok(screens)
    }
}

/// Asks only where an X server runs and the program is there, because every question starts a process.
fn from_x_servers(host: &dyn Host) -> Result<Vec<Screen>> {
    let displays: Vec<_> = names(host, X_SERVERS)?
        .iter()
        .filter_map(|name| Some(format!(":{}", name.strip_prefix('X')?.parse::<u16>().ok()?)))
        .collect();
    if displays.is_empty() || !host.exists(Path::new(XRANDR)) {
        return Ok(Vec::new());
    }
    let mut screens = Vec::new();
    for display in &displays {
        match command_output(host, "xrandr", &["--display", display, "--verbose"]) {
            Ok(output) => screens.extend(edid::screens(parse_xrandr(&lossy(output)).into_iter())),
            // A server that lets only its user in: nothing to be done, and so nothing to be warned of.
            Err(error @ CollectError::Command { .. }) => {
                tracing::debug!(%error, "an X server does not tell its screens");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(screens)
}

/// The EDIDs in the output of `xrandr --verbose`: behind `EDID:`, lines of hexadecimal digits that are indented further.
pub(super) fn parse_xrandr(output: &str) -> Vec<Vec<u8>> {
    let mut edids: Vec<Vec<u8>> = Vec::new();
    let mut inside = false;
    for line in output.lines().map(str::trim) {
        if line == "EDID:" {
            inside = true;
            edids.push(Vec::new());
        } else if let (true, Some(bytes), Some(edid)) =
            (inside, edid::from_hexadecimal(line), edids.last_mut())
        {
            edid.extend(bytes);
        } else {
            inside = false;
        }
    }
    edids.retain(|edid| !edid.is_empty());
    edids
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write;

    fn listing(edids: &[Vec<u8>]) -> String {
        let mut text = "Screen 0: minimum 320 x 200, current 1920 x 1080, maximum 16384 x 16384\n".to_owned();
        for (number, edid) in edids.iter().enumerate() {
            write!(
                text,
                "DP-{number} connected primary 1920x1080+0+0 (0x48) normal\n\tIdentifier: 0x42\n\tEDID: \n"
            )
            .unwrap();
            for line in edid.chunks(16) {
                text.push_str("\t\t");
                line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
                text.push('\n');
            }
            text.push_str("\tBroadcast RGB: Automatic \n\t\tsupported: Automatic, Full\n  1920x1080 (0x48) 148.500MHz\n");
        }
        text + "HDMI-2 disconnected (normal left inverted)\n\tIdentifier: 0x44\n"
    }

    proptest! {
        #[test]
        fn every_edid_is_found_again(edids in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..260), 0..3)) {
            prop_assert_eq!(parse_xrandr(&listing(&edids)), edids);
        }

        #[test]
        fn no_output_panics(output in "(\tEDID:\n|\t\t[0-9a-f]{0,8}|\n|\\PC)*") {
            parse_xrandr(&output);
        }
    }
}
