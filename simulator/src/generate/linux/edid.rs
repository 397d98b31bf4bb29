//! EDIDs: what a monitor says about itself (VESA E-EDID 1.4), 128 bytes.

use crate::generate::peripherals::Screen;

/// Tags of descriptors that hold a text.
const SERIAL_NUMBER: u8 = 0xff;
const FREE_TEXT: u8 = 0xfe;
const NAME: u8 = 0xfc;

/// The EDID of a screen.
pub(in crate::generate) fn edid(screen: &Screen) -> Vec<u8> {
    let monitor = screen.monitor;
    let mut block = vec![0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];
    let letters = monitor.pnp_id.bytes();
    let id = letters.fold(0, |id: u16, letter| id << 5 | u16::from(letter & 0x1f));
    block.extend(id.to_be_bytes());
    block.extend(monitor.product.to_le_bytes());
    block.extend([0; 4]);
    block.extend([
        screen.week,
        screen.year.to_le_bytes()[0].wrapping_sub(1990_u16.to_le_bytes()[0]),
        1,
        4,
    ]);
    block.push(if monitor.digital { 0xa5 } else { 0x0e });
    block.extend([monitor.centimetres.0, monitor.centimetres.1, 120, 0x3a]);
    // Colours, established and standard timings.
    block.extend([
        0xee, 0x95, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54, 0xa5, 0x4b, 0,
    ]);
    block.extend([1; 16]);
    block.extend(timing(monitor.pixels));
    match &screen.serial {
        Some(serial) => {
            block.extend(text(SERIAL_NUMBER, serial));
            block.extend(text(NAME, monitor.name));
        }
        None => {
            block.extend(text(FREE_TEXT, monitor.maker));
            block.extend(text(FREE_TEXT, monitor.name));
        }
    }
    // Limits of the frequencies.
    block.extend([
        0, 0, 0, 0xfd, 0, 56, 76, 30, 83, 17, 0, b'\n', b' ', b' ', b' ', b' ', b' ', b' ',
    ]);
    block.push(0);
    let sum = block.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    block.push(
        0_u8.wrapping_sub(sum)
            .wrapping_add(u8::from(screen.has_wrong_checksum())),
    );
    block
}

/// A detailed timing with blanking of 160 pixels and 40 lines.
fn timing((width, height): (u16, u16)) -> [u8; 18] {
    let mut timing = [0; 18];
    timing[..2].copy_from_slice(&14_850_u16.to_le_bytes());
    let ([width_low, width_high], [height_low, height_high]) = (width.to_le_bytes(), height.to_le_bytes());
    timing[2..5].copy_from_slice(&[width_low, 160, width_high << 4]);
    timing[5..8].copy_from_slice(&[height_low, 40, height_high << 4]);
    timing[17] = 0x1a;
    timing
}

/// A line feed ends a text that is shorter than its place.
fn text(tag: u8, text: &str) -> [u8; 18] {
    let mut descriptor = [b' '; 18];
    descriptor[..5].copy_from_slice(&[0, 0, 0, tag, 0]);
    let ended = text.bytes().chain([b'\n']);
    descriptor[5..]
        .iter_mut()
        .zip(ended)
        .for_each(|(place, byte)| *place = byte);
    descriptor
}
