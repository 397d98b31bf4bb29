//! Raw artefacts of a virtual Windows machine: registry keys, WMI rows, events and the output of `bcdedit`.

pub(super) mod events;
pub(super) mod log;
mod peripherals;
mod registry;
mod volumes;
mod wmi;
mod wql;

pub(crate) use events::event_log;
pub(crate) use registry::{registry_subkeys, registry_values};
pub(super) use wmi::BUILT_IN;
pub(crate) use wmi::{queried_class, wmi};

use super::Profile;
use super::hardware::Form;
use oco_agent::host::CommandOutput;
use std::io;

/// Output of a command.
pub(crate) fn run(profile: &Profile, program: &str, args: &[&str]) -> io::Result<CommandOutput> {
    if !program.eq_ignore_ascii_case("bcdedit") && !program.eq_ignore_ascii_case("bcdedit.exe")
        || !args.is_empty()
    {
        return Err(io::ErrorKind::NotFound.into());
    }
    if profile.defects.no_bcdedit && profile.model.form == Form::Virtual {
        return Err(io::ErrorKind::NotFound.into());
    }
    if profile.defects.no_bcdedit {
        // "Zugriff verweigert" in the code page of consoles in Western Europe.
        return Ok(CommandOutput {
            code: Some(1),
            stdout: b"Zugriff verweigert f\x81r bcdedit.\r\n".to_vec(),
        });
    }
    let loader = if profile.uefi {
        "winload.efi"
    } else {
        "winload.exe"
    };
    let manager = if profile.uefi {
        r"\EFI\MICROSOFT\BOOT\BOOTMGFW.EFI"
    } else {
        ""
    };
    let stdout = format!(
        "\r\nWindows-Start-Manager\r\n---------------------\r\nBezeichner              {{bootmgr}}\r\npath                    {manager}\r\n\r\n\
         Windows-Startladeprogramm\r\n-------------------------\r\npath                    \\Windows\\system32\\{loader}\r\n"
    );
    Ok(CommandOutput {
        code: Some(0),
        stdout: stdout.into_bytes(),
    })
}
