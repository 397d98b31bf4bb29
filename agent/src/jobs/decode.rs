//! The text in a procedure's output: UTF-8, or else what older programs of Western systems write. Never an error.

use crate::host::Os;
use yore::code_pages::{CP850, CP1252};

/// The text of output that is there whole, or up to where it has come so far.
pub(super) fn text(output: &[u8], os: Os) -> String {
    if is_utf8(output) {
        lossy(output)
    } else {
        legacy(output, is_cp850(&[output], os))
    }
}

/// The texts of the head and the tail of output whose middle is missing. A character that the cut goes through is left out.
pub(super) fn texts_around_cut(head: &[u8], tail: &[u8], os: Os) -> (String, String) {
    let (whole_head, whole_tail) = (without_partial_end(head), without_partial_start(tail));
    if is_utf8(whole_head) && is_utf8(whole_tail) {
        return (lossy(whole_head), lossy(whole_tail));
    }
    let cp850 = is_cp850(&[head, tail], os);
    (legacy(head, cp850), legacy(tail, cp850))
}

/// Whether this is UTF-8. The last character may still be on its way, if there was another one to tell by.
fn is_utf8(output: &[u8]) -> bool {
    match std::str::from_utf8(output) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && !output[..error.valid_up_to()].is_ascii(),
    }
}

fn lossy(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn legacy(output: &[u8], cp850: bool) -> String {
    if cp850 {
        CP850.decode(output).into_owned()
    } else {
        CP1252.decode(output).into_owned()
    }
}

/// Windows has two code pages at once, one for consoles (850) and one for all else (1252). Letters with accents are in
/// the first quarter above ASCII in the former and in the upper half in the latter. Other systems never had the former.
fn is_cp850(parts: &[&[u8]], os: Os) -> bool {
    let count = |letters: std::ops::RangeInclusive<u8>| {
        let bytes = parts.iter().flat_map(|part| part.iter());
        bytes.filter(|byte| letters.contains(byte)).count()
    };
    os == Os::Windows && count(0x80..=0xa5) >= count(0xc0..=0xff)
}

fn without_partial_end(head: &[u8]) -> &[u8] {
    match std::str::from_utf8(head) {
        Err(error) if error.error_len().is_none() => &head[..error.valid_up_to()],
        _ => head,
    }
}

fn without_partial_start(tail: &[u8]) -> &[u8] {
    let continuation = |byte: &&u8| (0x80..=0xbf).contains(*byte);
    &tail[tail.iter().take(3).take_while(continuation).count()..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn utf8_stays_what_it_is_on_every_system() {
        for os in Os::ALL {
            assert_eq!(
                text("grün, größer, 日本 €".as_bytes(), os),
                "grün, größer, 日本 €"
            );
        }
    }

    #[test]
    fn western_code_pages_are_told_apart_by_system_and_letters() {
        let (cp1252, cp850) = (
            b"Verf\xfcgbar f\xfcr \x80 5: Gr\xf6\xdfe",
            b"Verf\x81gbar f\x81r 5: Gr\x94\xe1e",
        );
        assert_eq!(text(cp1252, Os::Linux), "Verfügbar für € 5: Größe");
        assert_eq!(text(cp1252, Os::Windows), "Verfügbar für € 5: Größe");
        assert_eq!(text(cp850, Os::Windows), "Verfügbar für 5: Größe");
        assert_eq!(
            text(b"caf\xe9", Os::Linux),
            "café",
            "not the beginning of a character"
        );
    }

    #[test]
    fn a_character_on_its_way_does_not_change_the_encoding() {
        assert_eq!(text(&"größ".as_bytes()[..5], Os::Windows), "grö\u{fffd}");
    }

    #[test]
    fn characters_at_a_cut_are_left_out() {
        let euros = "a€€".as_bytes();
        let (head, tail) = texts_around_cut(&euros[..6], &euros[2..], Os::Linux);
        assert_eq!((head.as_str(), tail.as_str()), ("a€", "€"));
        let (head, tail) = texts_around_cut(b"gr\xfcn", b"\x84h", Os::Linux);
        assert_eq!((head.as_str(), tail.as_str()), ("grün", "„h"));
    }

    proptest! {
        #[test]
        fn any_bytes_make_text_and_ascii_survives(bytes in proptest::collection::vec(any::<u8>(), 0..60), cut in 0usize..60) {
            for os in Os::ALL {
                let ascii = |text: &str| text.chars().filter(char::is_ascii).count();
                let expected = bytes.iter().filter(|byte| byte.is_ascii()).count();
                prop_assert_eq!(ascii(&text(&bytes, os)), expected);
                let (head, tail) = bytes.split_at(cut.min(bytes.len()));
                let (head, tail) = texts_around_cut(head, tail, os);
                prop_assert_eq!(ascii(&head) + ascii(&tail), expected);
            }
        }

        #[test]
        fn utf8_cut_anywhere_stays_utf8(text in "[a-zäß€日]{0,20}", cut in 0usize..60) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let (head, tail) = texts_around_cut(&bytes[..cut], &bytes[cut..], Os::Windows);
            prop_assert!(text.starts_with(&head) && text.ends_with(&tail), "{head} {tail}");
        }
    }
}
