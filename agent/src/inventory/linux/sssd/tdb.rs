//! TDB, Samba's trivial database (see tdb(3) and its `tdb_private.h`): a header, the heads of hash chains, and records that
//! are linked into these. Numbers have the byte order of the machine that made the file.

use crate::inventory::field::{CollectError, Result};
use std::ops::RangeInclusive;

const MAGIC: &[u8; 12] = b"TDB file\n\0\0\0";
const VERSION: u32 = 0x2601_1967 + 6;
/// Marks a record that holds something; free and dead ones have other marks.
const IN_USE: u32 = 0x2601_1999;

/// Length of the header, bytes: 32 of text, and 34 numbers.
const HEADER: usize = 168;
/// Length of the head of a record, bytes: next, length, length of key, length of value, hash, mark.
const RECORD: usize = 24;

/// Keys and values of the database. What does not fit its description is left out, with what is behind it in its chain.
pub(super) fn records(bytes: &[u8]) -> Result<Records<'_>> {
    let malformed = |reason| CollectError::malformed("a cache of SSSD", reason);
    if !bytes.starts_with(MAGIC) {
        return Err(malformed("it is no TDB file"));
    }
    let file = [false, true]
        .into_iter()
        .map(|big_endian| File { bytes, big_endian })
        .find(|file| file.number(32) == Some(VERSION))
        .ok_or_else(|| malformed("its version is unknown"))?;
    // Set where the file has another hash function, which LDB does not use.
    if file.number(40) != Some(0) {
        return Err(malformed("its hash function is unknown"));
    }
    let chains = file.place(36).filter(|chains| *chains <= bytes.len() / 4);
    let chains = chains.ok_or_else(|| malformed("its number of hash chains makes no sense"))?;
    Ok(Records {
        file,
        // The list of free records comes first.
        heads: 1..=chains,
        next: None,
        left: bytes.len() / RECORD,
    })
}

/// Goes through all chains.
pub(super) struct Records<'a> {
    file: File<'a>,
    /// Chains that are still to come.
    heads: RangeInclusive<usize>,
    /// Where the chain goes on.
    next: Option<usize>,
    /// Records that there can still be: a chain that a writer has bent into a circle must end.
    left: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(at) = self.next.take() else {
                self.next = self.file.place(HEADER + 4 * self.heads.next()?);
                continue;
            };
            self.left = self.left.checked_sub(1)?;
            if let Some(record) = self.file.record(at) {
                self.next = record.next;
                if hash(record.key) == record.hash {
                    return Some((record.key, record.value));
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct File<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

/// A record in use.
struct Record<'a> {
    next: Option<usize>,
    key: &'a [u8],
    value: &'a [u8],
    /// Of the key.
    hash: u32,
}

impl<'a> File<'a> {
    fn number(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    fn length(&self, at: usize) -> Option<usize> {
        usize::try_from(self.number(at)?).ok()
    }

    /// Where something is; none for nowhere, which is 0.
    fn place(&self, at: usize) -> Option<usize> {
        self.length(at).filter(|place| *place != 0)
    }

    fn record(&self, at: usize) -> Option<Record<'a>> {
        let content = self.bytes.get(at.checked_add(RECORD)?..)?;
        if self.number(at + 20)? != IN_USE {
            return None;
        }
        let (room, key, value) = (self.length(at + 4)?, self.length(at + 8)?, self.length(at + 12)?);
        let content = content.get(..key.checked_add(value).filter(|length| *length <= room)?)?;
        let (key, value) = content.split_at_checked(key)?;
        Some(Record {
            next: self.place(at),
            key,
            value,
            hash: self.number(at + 16)?,
        })
    }
}

/// TDB's original hash function.
fn hash(key: &[u8]) -> u32 {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let shifts = (0..24_u32).map(|index| index * 5 % 24).cycle();
    let sum = key
        .iter()
        .zip(shifts)
        .fold(length.wrapping_mul(0x238f_13af), |sum, (byte, shift)| {
            sum.wrapping_add(u32::from(*byte) << shift)
        });
    sum.wrapping_mul(1_103_515_243).wrapping_add(12_345)
}
