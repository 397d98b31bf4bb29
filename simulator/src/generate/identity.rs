//! What tells one machine from another of its model: serial number, firmware version, UUID.

use super::hardware::{Firmware, Serial};
use super::{Draw, Profile, Topic};

impl Profile {
    /// The serial number that its vendor gave it. Artefacts that carry it: DMI (Linux), ioreg (macOS), Win32_BIOS.
    pub fn serial(&self) -> String {
        let mut draw = Draw::new(self.machine, Topic::Identity, 0);
        let mut serial = String::with_capacity(24);
        match self.model.serial {
            Serial::Code(prefix, length) => {
                serial.push_str(prefix);
                // No letters that could be mistaken for digits.
                draw.text(b"0123456789ABCDEFGHJKLMNPQRSTVWXYZ", length, &mut serial);
            }
            Serial::Groups => {
                for group in 0..7 {
                    serial.push_str(if group > 0 { "-" } else { "" });
                    draw.text(b"0123456789", if group == 6 { 2 } else { 4 }, &mut serial);
                }
            }
            Serial::VmWare => {
                serial.push_str("VMware-");
                for (place, byte) in self.uuid_bytes().into_iter().enumerate() {
                    serial.push_str(["", " ", "-"][if place == 8 { 2 } else { usize::from(place > 0) }]);
                    serial.push_str(&format!("{byte:02x}"));
                }
            }
            Serial::Same(same) => serial.push_str(same),
        }
        serial
    }

    /// The firmware's version.
    pub fn firmware(&self) -> String {
        let mut draw = Draw::new(self.machine, Topic::Identity, 1);
        match self.model.firmware {
            Firmware::Dotted => format!("1.{}.{}", draw.below(30), draw.below(5)),
            Firmware::Coded(prefix) => format!("{prefix}{}W (1.{:02} )", draw.below(10), draw.between(5, 60)),
            Firmware::Ver(prefix) => format!("{prefix} Ver. 01.{:02}.00", draw.between(1, 30)),
            Firmware::Same(same) => same.to_owned(),
        }
    }

    /// The machine's UUID in lower case; no two machines of a fleet have the same.
    pub fn uuid(&self) -> String {
        format_uuid(self.uuid_bytes())
    }

    fn uuid_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        Draw::new(self.machine, Topic::Identity, 2).fill(&mut bytes);
        // An odd factor maps 48-bit indices one to one, so the node part alone is unique.
        let node = self
            .machine
            .index
            .wrapping_mul(0x9E37_79B9_7F4B)
            .wrapping_add(self.machine.seed);
        bytes[10..].copy_from_slice(&node.to_be_bytes()[2..]);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes
    }
}

/// A UUID in its usual form, lower case.
pub(super) fn format_uuid(bytes: [u8; 16]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    text
}
