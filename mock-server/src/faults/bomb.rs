//! An archive of a megabyte that unpacks to a gigabyte. Deflating that much takes seconds, so one piece of it is deflated
//! and repeated: a piece that ends with a full flush depends on nothing before it.

use axum::body::Bytes;
use flate2::{Compress, CompressError, Compression, FlushCompress};
use std::sync::OnceLock;

const PIECE: usize = 1 << 20;
/// A power of two, for the sum of its checksums.
const PIECES: usize = 1 << 10;
/// The last block of a deflated stream: stored, empty.
const END: [u8; 5] = [1, 0, 0, 0xff, 0xff];
const NAME: &[u8] = b"bomb";

/// The archive, made once.
pub(super) fn archive() -> Result<Bytes, CompressError> {
    static ARCHIVE: OnceLock<Bytes> = OnceLock::new();
    if let Some(archive) = ARCHIVE.get() {
        return Ok(archive.clone());
    }
    let made = make()?;
    Ok(ARCHIVE.get_or_init(|| made).clone())
}

fn make() -> Result<Bytes, CompressError> {
    let piece = deflated()?;
    let mut data = piece.repeat(PIECES);
    data.extend_from_slice(&END);
    // Method 8, the time and date of nothing, checksum, both sizes, and the length of the name.
    let mut entry = vec![20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0];
    entry.extend_from_slice(&checksum().to_le_bytes());
    for size in [data.len(), PIECE * PIECES] {
        entry.extend_from_slice(&number(size));
    }
    entry.extend_from_slice(&[4, 0, 0, 0]);
    let mut archive = b"PK\x03\x04".to_vec();
    archive.extend_from_slice(&entry);
    archive.extend_from_slice(NAME);
    archive.extend_from_slice(&data);
    let directory = archive.len();
    archive.extend_from_slice(b"PK\x01\x02\x14\x00");
    archive.extend_from_slice(&entry);
    archive.extend_from_slice(&[0; 14]);
    archive.extend_from_slice(NAME);
    let length = archive.len() - directory;
    archive.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    archive.extend_from_slice(&number(length));
    archive.extend_from_slice(&number(directory));
    archive.extend_from_slice(&[0, 0]);
    Ok(archive.into())
}

/// One piece of nothing, which can follow itself.
fn deflated() -> Result<Vec<u8>, CompressError> {
    let mut deflate = Compress::new(Compression::best(), false);
    let mut piece = Vec::with_capacity(PIECE / 64);
    deflate.compress_vec(&vec![0; PIECE], &mut piece, FlushCompress::Full)?;
    Ok(piece)
}

/// Of all pieces together.
fn checksum() -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&vec![0; PIECE]);
    for _ in 0..PIECES.ilog2() {
        let half = sum.clone();
        sum.combine(&half);
    }
    sum.finalize()
}

/// A size of an archive that is far from four gigabytes.
fn number(size: usize) -> [u8; 4] {
    u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Read};

    #[test]
    fn it_is_an_archive_that_unpacks_to_a_thousand_times_its_size() {
        let bytes = archive().unwrap();
        assert!(bytes.len() < 2 << 20, "{}", bytes.len());
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut entry = archive.by_index(0).unwrap();
        assert_eq!(entry.size(), 1 << 30);
        // The first pieces are enough to tell that they follow each other.
        let mut start = vec![1; 3 * PIECE + 1];
        entry.read_exact(&mut start).unwrap();
        assert!(start.iter().all(|byte| *byte == 0));
    }
}
