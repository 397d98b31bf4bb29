//! `/var/log/wtmp`: what login(1) and its kin append to (see utmp(5)).

use super::Record;
use crate::inventory::field::lossy;
use jiff::Timestamp;

/// Where things are in `struct utmp`. Up to the name it is the same everywhere.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Length of a record, bytes.
    record: usize,
    /// Offset of the seconds, of which the low half is read.
    seconds: usize,
}

impl Layout {
    /// glibc keeps the 32-bit layout on all machines that were 32 bits wide once.
    pub(super) fn of(machine: &str) -> Self {
        match machine {
            "aarch64" | "aarch64_be" | "loongarch64" => Self {
                record: 400,
                seconds: 344,
            },
            _ => Self {
                record: 384,
                seconds: 340,
            },
        }
    }
}

/// `ut_type` of a login.
const USER_PROCESS: [u8; 2] = 7_u16.to_le_bytes();

pub(super) fn parse(wtmp: &[u8], layout: Layout) -> impl Iterator<Item = Record> {
    let records = wtmp
        .chunks_exact(layout.record)
        .filter(|record| record.starts_with(&USER_PROCESS));
    records.filter_map(move |record| {
        let seconds = record
            .get(layout.seconds..)?
            .first_chunk()
            .copied()
            .map(u32::from_le_bytes)?;
        Some(Record {
            console: text(record.get(8..40)?),
            user: text(record.get(44..76)?),
            time: Timestamp::from_second(seconds.into()).ok()?,
        })
    })
}

/// A field that ends at its first NUL byte, if it has one.
fn text(field: &[u8]) -> String {
    lossy(field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(layout: Layout, kind: u16, line: &[u8], user: &[u8], seconds: u32) -> Vec<u8> {
        let mut record = vec![0; layout.record];
        record[..2].copy_from_slice(&kind.to_le_bytes());
        record[8..8 + line.len()].copy_from_slice(line);
        record[44..44 + user.len()].copy_from_slice(user);
        record[layout.seconds..][..4].copy_from_slice(&seconds.to_le_bytes());
        record
    }

    #[test]
    fn only_user_processes_are_logins() {
        for layout in [Layout::of("x86_64"), Layout::of("aarch64")] {
            let mut wtmp = record(layout, 2, b"~", b"reboot", 1_795_000_000);
            wtmp.extend(record(layout, 7, b"pts/0", b"alice", 1_795_248_900));
            wtmp.extend(record(layout, 8, b"pts/0", b"", 1_795_249_000));
            wtmp.extend(record(layout, 7, b"tty1", &[b'x'; 32], 4_000_000_000));
            wtmp.extend([7, 0, 0]);
            let records: Vec<_> = parse(&wtmp, layout).collect();
            assert_eq!(records.len(), 2);
            assert_eq!(
                (records[0].console.as_str(), records[0].user.as_str()),
                ("pts/0", "alice")
            );
            assert_eq!(records[0].time.to_string(), "2026-11-21T08:15:00Z");
            // A name of full length has no end mark, and seconds last until 2106.
            assert_eq!(
                (records[1].user.len(), records[1].time.as_second()),
                (32, 4_000_000_000)
            );
        }
    }

    proptest! {
        #[test]
        fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            parse(&bytes, Layout::of("x86_64")).chain(parse(&bytes, Layout::of("aarch64"))).for_each(drop);
        }

        #[test]
        fn every_login_is_found_again(line in "[a-z/0-9]{1,32}", user in "[a-zä]{1,16}", seconds: u32) {
            let layout = Layout::of("x86_64");
            let wtmp = record(layout, 7, line.as_bytes(), user.as_bytes(), seconds);
            let time = Timestamp::from_second(seconds.into()).unwrap();
            prop_assert_eq!(parse(&wtmp, layout).collect::<Vec<_>>(), [Record { console: line, user, time }]);
        }
    }
}
