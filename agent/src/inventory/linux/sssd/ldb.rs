//! Entries as LDB packs them (format 0x26011967, which databases that are indexed by name have): numbers of elements and
//! values, four bytes each, little endian; texts that end with NUL; values with their length before and a NUL behind.

const FORMAT: u32 = 0x2601_1967;

/// An entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Its distinguished name.
    pub(super) dn: &'a str,
    /// Attributes with their first values.
    attributes: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Entry<'a> {
    /// None where anything does not fit.
    pub(super) fn parse(packed: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(packed);
        if rest.number()? != FORMAT {
            return None;
        }
        let elements = rest.number()?;
        let dn = rest.text()?;
        let mut attributes = Vec::new();
        for _ in 0..elements {
            let name = rest.text()?;
            for index in 0..rest.number()? {
                let value = rest.value()?;
                if index == 0 {
                    attributes.push((name, value));
                }
            }
        }
        rest.0.is_empty().then_some(Self { dn, attributes })
    }

    /// The first value of an attribute, if it is a text. Names of attributes are compared case-insensitively.
    pub(super) fn text(&self, attribute: &str) -> Option<&'a str> {
        let mut attributes = self.attributes.iter();
        let (_, value) = attributes.find(|(name, _)| name.eq_ignore_ascii_case(attribute))?;
        str::from_utf8(value).ok()
    }
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().copied().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(end)?;
        self.take(1)?;
        str::from_utf8(text).ok()
    }

    fn value(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let value = self.take(length)?;
        (self.take(1)? == [0]).then_some(value)
    }
}
