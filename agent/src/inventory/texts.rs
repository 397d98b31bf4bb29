//! The texts of an inventory (and of service checks) as a server can keep them. What machines say is what firmware, devices and other programs have
//! written there, so it may hold anything.

use oco_protocol::inventory::{
    Device, Inventory, Login, Network, Partition, Printer, Screen, Software, User,
};

/// Longest text, characters; no real one comes near. A single one that a server's database refuses would cost the report.
const MOST: usize = 4096;

/// Replaces control characters, and cuts what is longer than any real text.
pub(super) fn tidy(inventory: &mut Inventory) {
    let whole = [
        &mut inventory.hostname,
        &mut inventory.agent_version,
        &mut inventory.os,
        &mut inventory.os_version,
        &mut inventory.os_license,
        &mut inventory.os_language,
        &mut inventory.kernel_version,
        &mut inventory.architecture,
        &mut inventory.serial,
        &mut inventory.manufacturer,
        &mut inventory.model,
        &mut inventory.bios_version,
        &mut inventory.boot_type,
        &mut inventory.secure_boot,
        &mut inventory.domain,
    ];
    whole.into_iter().flatten().for_each(text);
    // These have a line for each of several things.
    for lines in [&mut inventory.cpu, &mut inventory.gpu].into_iter().flatten() {
        tidy_except(lines, |c| c == '\n');
    }
    each(
        &mut inventory.networks,
        |Network {
             addr,
             netmask,
             broadcast,
             mac,
             interface,
         }| {
            [addr, netmask, broadcast, mac, interface]
                .into_iter()
                .for_each(text);
        },
    );
    each(&mut inventory.screens, |screen| {
        let Screen {
            name,
            manufacturer,
            manufactured,
            resolution,
            size,
            kind,
            serialno,
            technology,
        } = screen;
        [
            name,
            manufacturer,
            manufactured,
            resolution,
            size,
            kind,
            serialno,
            technology,
        ]
        .into_iter()
        .for_each(text);
    });
    each(
        &mut inventory.printers,
        |Printer {
             name,
             driver,
             paper,
             dpi,
             uri,
             status,
         }| {
            [name, driver, paper, dpi, uri, status].into_iter().for_each(text);
        },
    );
    each(&mut inventory.partitions, |partition| {
        let Partition {
            device,
            mountpoint,
            filesystem,
            name,
            uuid,
            size: _,
            free: _,
            encrypted: _,
        } = partition;
        [device, mountpoint, filesystem, name, uuid]
            .into_iter()
            .for_each(text);
    });
    each(&mut inventory.software, software);
    each(
        &mut inventory.logins,
        |Login {
             guid,
             display_name,
             username,
             console,
             timestamp,
         }| {
            guid.iter_mut().for_each(text);
            [display_name, username, console, timestamp]
                .into_iter()
                .for_each(text);
        },
    );
    each(&mut inventory.users, |user| {
        // Numbers, or the SID that Windows makes.
        let User {
            username,
            display_name,
            home,
            shell,
            uid: _,
            gid: _,
            disabled: _,
        } = user;
        [username, display_name, home, shell].into_iter().for_each(text);
    });
    each(
        &mut inventory.devices,
        |Device {
             subsystem,
             serial,
             name,
             vendor: _,
             product: _,
         }| {
            [subsystem, serial, name].into_iter().for_each(text);
        },
    );
}

/// The texts of a piece of software.
pub(super) fn software(item: &mut Software) {
    [&mut item.name, &mut item.version, &mut item.description]
        .into_iter()
        .for_each(text);
}

fn each<T>(items: &mut Option<Vec<T>>, tidy: impl FnMut(&mut T)) {
    items.iter_mut().flatten().for_each(tidy);
}

fn text(text: &mut String) {
    tidy_except(text, |_| false);
}

fn tidy_except(text: &mut String, allowed: impl Fn(char) -> bool) {
    replace_controls(text, allowed);
    if let Some((end, _)) = text.char_indices().nth(MOST) {
        text.truncate(end);
        text.push('…');
    }
}

/// Control characters become blanks if they are white space, and else what stands for unreadable bytes, too. So no text
/// becomes empty, or begins or ends otherwise.
pub(crate) fn plain(text: &mut String) {
    replace_controls(text, |_| false);
}

fn replace_controls(text: &mut String, allowed: impl Fn(char) -> bool) {
    let unwanted = |c: char| c.is_control() && !allowed(c);
    if text.contains(unwanted) {
        let replaced = text.chars().map(|c| match c {
            c if !unwanted(c) => c,
            c if c.is_whitespace() => ' ',
            _ => char::REPLACEMENT_CHARACTER,
        });
        *text = replaced.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn control_characters_are_replaced_and_lines_of_processors_stay() {
        let mut inventory = Inventory {
            serial: Some("AB\0C\u{1b}[1m\n".to_owned()),
            cpu: Some("One\nTwo\r".to_owned()),
            software: Some(vec![Software {
                name: "a\tb".to_owned(),
                version: "1".to_owned(),
                description: "x".repeat(5000),
            }]),
            ..Inventory::default()
        };
        tidy(&mut inventory);
        assert_eq!(inventory.serial.as_deref(), Some("AB\u{fffd}C\u{fffd}[1m "));
        assert_eq!(inventory.cpu.as_deref(), Some("One\nTwo "));
        let software = &inventory.software.unwrap()[0];
        assert_eq!(
            (software.name.as_str(), software.description.chars().count()),
            ("a b", MOST + 1)
        );
    }

    proptest! {
        #[test]
        fn ordinary_texts_stay_as_they_are(value in "\\PC{0,200}") {
            let mut tidied = value.clone();
            text(&mut tidied);
            prop_assert_eq!(tidied, value);
        }

        #[test]
        fn no_text_keeps_control_characters(value in ".{0,50}\\p{Cc}?.{0,50}") {
            let mut tidied = value;
            text(&mut tidied);
            prop_assert!(!tidied.contains(char::is_control));
        }
    }
}
