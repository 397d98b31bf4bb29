//! Monitors, from their EDID: the block of 128 bytes in which a monitor describes itself (VESA E-EDID 1.4; later blocks
//! hold nothing that is reported).

use super::field::{CollectError, Result};
use super::pnp_vendors;
use oco_protocol::inventory::{Screen, UNKNOWN};

const LENGTH: usize = 128;
const HEADER: [u8; 8] = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];

/// Where the four descriptors are, 18 bytes each.
const DESCRIPTORS: [usize; 4] = [54, 72, 90, 108];

/// Tags of descriptors that hold a text.
const SERIAL_NUMBER: u8 = 0xff;
const FREE_TEXT: u8 = 0xfe;
const NAME: u8 = 0xfc;

/// What the monitor says about itself. A wrong checksum is no reason to refuse it: many that work have one.
pub(super) fn parse(edid: &[u8]) -> Result<Screen> {
    let block: &[u8; LENGTH] = edid
        .first_chunk()
        .ok_or_else(|| CollectError::malformed("an EDID", format!("{} bytes of 128", edid.len())))?;
    if !block.starts_with(&HEADER) {
        return Err(CollectError::malformed("an EDID", "it does not start like one"));
    }
    let timing = descriptors(block).find_map(Timing::parse);
    let digital = block[20] & 0x80 != 0;
    Ok(Screen {
        // Panels of notebooks have no name; the maker's designation is in their last free text.
        name: text(block, NAME)
            .or_else(|| texts(block, FREE_TEXT).last())
            .unwrap_or_else(|| UNKNOWN.to_owned()),
        manufacturer: manufacturer(u16::from_be_bytes([block[8], block[9]])),
        manufactured: manufactured(block[16].into(), 1990 + u64::from(block[17])),
        resolution: timing
            .as_ref()
            .map_or_else(|| UNKNOWN.to_owned(), Timing::resolution),
        size: size(block, timing.as_ref()),
        kind: format!("{:04X}", u16::from_le_bytes([block[10], block[11]])),
        serialno: serial_number(block),
        technology: if digital { "digital" } else { "analog" }.to_owned(),
    })
}

/// Whether the bytes of the block add up to 0.
pub(super) fn checksum_is_right(edid: &[u8]) -> bool {
    let block = edid.iter().take(LENGTH);
    block.fold(0, |sum: u8, byte| sum.wrapping_add(*byte)) == 0
}

/// The screens of these EDIDs. Monitors behind some adapters have none, or a broken one.
pub(super) fn screens(edids: impl Iterator<Item = Vec<u8>>) -> Vec<Screen> {
    edids.filter_map(|edid| screen(&edid)).collect()
}

/// The screen of an EDID, if there is one; a broken one is logged.
pub(super) fn screen(edid: &[u8]) -> Option<Screen> {
    if edid.is_empty() {
        return None;
    }
    if !checksum_is_right(edid) {
        tracing::warn!("the EDID of a screen has a wrong checksum; its details may be wrong");
    }
    parse(edid)
        .inspect_err(|error| tracing::warn!(%error, "the EDID of a screen is left out"))
        .ok()
}

/// The bytes of an EDID that is written as hexadecimal digits; none for anything else.
pub(super) fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    bytes.by_ref().collect()
}

/// The maker's name by its PNP id: three letters, five bits each.
pub(super) fn manufacturer(packed: u16) -> String {
    let letter = |shift: u16| {
        let number = (packed >> shift & 0x1f).to_le_bytes()[0];
        if (1..=26).contains(&number) {
            char::from(b'@' + number)
        } else {
            '?'
        }
    };
    let id = String::from_iter([letter(10), letter(5), letter(0)]);
    maker(&id)
}

/// The maker's name by the three letters of its PNP id.
pub(super) fn maker(id: &str) -> String {
    pnp_vendors::name(id).map_or_else(|| format!("Unknown ({id})"), str::to_owned)
}

/// `12/2019`; without a week, or where it is the year of the model, `2019`.
pub(super) fn manufactured(week: u64, year: u64) -> String {
    match week {
        1..=54 => format!("{week}/{year}"),
        _ => year.to_string(),
    }
}

/// Centimetres. Projectors have none, and some monitors give only their aspect ratio, with one of the two numbers.
fn size(block: &[u8; LENGTH], timing: Option<&Timing>) -> String {
    match (block[21], block[22]) {
        (width @ 1.., height @ 1..) => format!("{width}.0 x {height}.0"),
        _ => match timing.map(|timing| timing.millimetres) {
            Some((width @ 1.., height @ 1..)) => {
                format!("{}.{} x {}.{}", width / 10, width % 10, height / 10, height % 10)
            }
            _ => UNKNOWN.to_owned(),
        },
    }
}

fn serial_number(block: &[u8; LENGTH]) -> String {
    let number = || match u32::from_le_bytes([block[12], block[13], block[14], block[15]]) {
        0 => UNKNOWN.to_owned(),
        number => number.to_string(),
    };
    text(block, SERIAL_NUMBER).unwrap_or_else(number)
}

fn descriptors(block: &[u8; LENGTH]) -> impl Iterator<Item = &[u8; 18]> {
    DESCRIPTORS
        .iter()
        .filter_map(|start| block.get(*start..)?.first_chunk())
}

fn text(block: &[u8; LENGTH], tag: u8) -> Option<String> {
    texts(block, tag).next()
}

/// The texts of descriptors with this tag. They end with a line feed and are padded with spaces.
fn texts(block: &[u8; LENGTH], tag: u8) -> impl Iterator<Item = String> {
    let tagged = descriptors(block).filter(move |descriptor| descriptor[..4] == [0, 0, 0, tag]);
    let texts = tagged.map(|descriptor| {
        let line = descriptor[5..]
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let readable = line.iter().copied().filter(|byte| (b' '..=b'~').contains(byte));
        readable.map(char::from).collect::<String>().trim().to_owned()
    });
    texts.filter(|text| !text.is_empty())
}

/// The first detailed timing, which is the one that the monitor prefers.
struct Timing {
    pixels: (u16, u16),
    millimetres: (u16, u16),
}

impl Timing {
    /// None for a descriptor of another kind: those have no pixel clock.
    fn parse(descriptor: &[u8; 18]) -> Option<Self> {
        let number = |low: usize, high: u8| u16::from_le_bytes([descriptor[low], high]);
        let (upper, lower) = (
            |byte: usize| descriptor[byte] >> 4,
            |byte: usize| descriptor[byte] & 0x0f,
        );
        let interlaced = descriptor[17] & 0x80 != 0;
        let pixels = (number(2, upper(4)), number(5, upper(7)) << u8::from(interlaced));
        let has_clock = descriptor[..2] != [0, 0];
        (has_clock && pixels.0 > 0 && pixels.1 > 0).then(|| Self {
            pixels,
            millimetres: (number(12, upper(14)), number(13, lower(14))),
        })
    }

    fn resolution(&self) -> String {
        format!("{} x {}", self.pixels.0, self.pixels.1)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An EDID with the checksum set right.
    fn edid(change: impl FnOnce(&mut [u8; LENGTH])) -> [u8; LENGTH] {
        let mut block = [0; LENGTH];
        block[..8].copy_from_slice(&HEADER);
        // "DEL", product 0xa0c4, serial number 0x30365258, week 12 of 2019, EDID 1.4, digital, 53 x 30 cm.
        block[8..18].copy_from_slice(&[0x10, 0xac, 0xc4, 0xa0, 0x58, 0x52, 0x36, 0x30, 12, 29]);
        block[18..23].copy_from_slice(&[1, 4, 0xa5, 53, 30]);
        block[54..72].copy_from_slice(&[
            0x02, 0x3a, 0x80, 0x18, 0x71, 0x38, 0x2d, 0x40, 0x58, 0x2c, 0x45, 0x00, 0x0f, 0x28, 0x21, 0, 0,
            0x1e,
        ]);
        change(&mut block);
        let sum = block[..127]
            .iter()
            .fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
        block[127] = 0_u8.wrapping_sub(sum);
        block
    }

    fn describe(block: &mut [u8; LENGTH], index: usize, tag: u8, text: &[u8]) {
        let descriptor = &mut block[DESCRIPTORS[index]..][..18];
        descriptor[..5].copy_from_slice(&[0, 0, 0, tag, 0]);
        descriptor[5..].fill(b' ');
        descriptor[5..5 + text.len()].copy_from_slice(text);
    }

    #[test]
    fn a_desktop_monitor_names_itself() {
        let block = edid(|block| {
            describe(block, 1, SERIAL_NUMBER, b"7VTW19B906RX\n");
            describe(block, 2, NAME, b"DELL U2417H\n");
        });
        let screen = parse(&block).unwrap();
        assert!(checksum_is_right(&block));
        let expected = Screen {
            name: "DELL U2417H".into(),
            manufacturer: "Dell".into(),
            manufactured: "12/2019".into(),
            resolution: "1920 x 1080".into(),
            size: "53.0 x 30.0".into(),
            kind: "A0C4".into(),
            serialno: "7VTW19B906RX".into(),
            technology: "digital".into(),
        };
        assert_eq!(screen, expected);
    }

    #[test]
    fn a_panel_without_a_name_has_its_makers_designation() {
        let screen = parse(&edid(|block| {
            block[8..18].copy_from_slice(&[0x06, 0xaf, 0x8d, 0x61, 0, 0, 0, 0, 0, 28]);
            describe(block, 2, FREE_TEXT, b"AUO\n");
            describe(block, 3, FREE_TEXT, b"B140HAN06.1 \n");
        }));
        let screen = screen.unwrap();
        assert_eq!(
            (screen.name.as_str(), screen.manufacturer.as_str()),
            ("B140HAN06.1", "AU Optronics")
        );
        assert_eq!(
            (screen.manufactured.as_str(), screen.serialno.as_str()),
            ("2018", "-")
        );
    }

    #[test]
    fn what_a_monitor_does_not_say_is_unknown() {
        let screen = parse(&edid(|block| {
            block[8..10].copy_from_slice(&[0x6b, 0x5a]);
            block[16] = 0xff;
            block[20..23].copy_from_slice(&[0x0e, 0, 0]);
            block[54..72].fill(0);
        }));
        let screen = screen.unwrap();
        assert_eq!(
            (screen.name.as_str(), screen.manufacturer.as_str()),
            ("-", "Unknown (ZZZ)")
        );
        assert_eq!((screen.resolution.as_str(), screen.size.as_str()), ("-", "-"));
        assert_eq!(
            (screen.manufactured.as_str(), screen.technology.as_str()),
            ("2019", "analog")
        );
        assert_eq!(screen.serialno, "808866392");
    }

    #[test]
    fn the_timing_stands_in_for_a_missing_size_and_counts_whole_frames() {
        let screen = parse(&edid(|block| {
            block[21..23].copy_from_slice(&[0, 0]);
            block[54 + 5..54 + 8].copy_from_slice(&[0x1c, 0x16, 0x20]);
            block[54 + 17] |= 0x80;
        }));
        let screen = screen.unwrap();
        assert_eq!(
            (screen.resolution.as_str(), screen.size.as_str()),
            ("1920 x 1080", "52.7 x 29.6")
        );
    }

    #[test]
    fn what_is_no_edid_is_refused_and_a_wrong_checksum_is_not() {
        assert!(parse(b"").unwrap_err().to_string().contains("0 bytes"));
        assert!(parse(&[0; 256]).is_err());
        let mut block = edid(|_| {});
        block[127] ^= 1;
        assert!(parse(&block).is_ok() && !checksum_is_right(&block));
    }

    proptest! {
        #[test]
        fn no_block_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), with_header: bool) {
            if with_header && bytes.len() > 8 {
                bytes[..8].copy_from_slice(&HEADER);
            }
            if let Ok(screen) = parse(&bytes) {
                prop_assert!(!screen.name.is_empty() && !screen.serialno.is_empty());
            }
        }

        #[test]
        fn names_are_found_again(name in "[A-Z][A-Za-z0-9 ]{0,11}[A-Za-z0-9]", index in 1usize..4) {
            let block = edid(|block| describe(block, index, NAME, name.as_bytes()));
            prop_assert_eq!(parse(&block).unwrap().name, name);
        }
    }
}
