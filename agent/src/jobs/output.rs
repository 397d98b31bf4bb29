//! A job's output within bounds: its head and its tail are kept, and the cut between them is named.

use super::decode;
use crate::host::Os;
use std::collections::VecDeque;

/// Collects output, keeping at most a given number of bytes.
#[derive(Debug)]
pub(super) struct OutputBuffer {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    half: usize,
    total: u64,
    os: Os,
}

impl OutputBuffer {
    /// A buffer that keeps `max` bytes of what a program on `os` writes: one half from the beginning, the other from the
    /// end.
    pub(super) fn new(max: usize, os: Os) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            half: max.div_ceil(2).max(1),
            total: 0,
            os,
        }
    }

    /// Adds a piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.total += piece.len() as u64;
        let (first, rest) = piece.split_at(piece.len().min(self.half - self.head.len()));
        self.head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(self.half)..];
        let excess = (self.tail.len() + rest.len()).saturating_sub(self.half);
        self.tail.drain(..excess);
        self.tail.extend(rest);
    }

    /// Bytes that were added, kept or not.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The output as text.
    pub(super) fn text(&self) -> String {
        let cut = self.total - (self.head.len() + self.tail.len()) as u64;
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if cut == 0 {
            return decode::text(&[self.head.as_slice(), &tail].concat(), self.os);
        }
        let (head, tail) = decode::texts_around_cut(&self.head, &tail, self.os);
        format!("{head}\n[... {cut} bytes of output left out ...]\n{tail}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_middle_of_long_output_is_left_out_and_named() {
        let mut output = OutputBuffer::new(8, Os::Linux);
        for piece in ["abcdef", "ghij", "klmnop"] {
            output.push(piece.as_bytes());
        }
        assert_eq!(output.text(), "abcd\n[... 8 bytes of output left out ...]\nmnop");
        assert_eq!(output.total(), 16);
    }

    proptest! {
        #[test]
        fn output_within_bounds_is_kept_whole(pieces in proptest::collection::vec("[a-z]{0,9}", 0..9)) {
            let whole = pieces.concat();
            let mut output = OutputBuffer::new(whole.len().max(1), Os::Linux);
            pieces.iter().for_each(|piece| output.push(piece.as_bytes()));
            prop_assert_eq!(output.text(), whole);
        }

        #[test]
        fn head_and_tail_survive_whatever_the_pieces(pieces in proptest::collection::vec("[a-z]{0,30}", 0..9), max in 2usize..20) {
            let whole = pieces.concat();
            let mut output = OutputBuffer::new(max, Os::Linux);
            pieces.iter().for_each(|piece| output.push(piece.as_bytes()));
            let (text, half) = (output.text(), max.div_ceil(2));
            if whole.len() > 2 * half {
                prop_assert!(text.starts_with(&whole[..half]));
                prop_assert!(text.ends_with(&whole[whole.len() - half..]));
            } else {
                prop_assert_eq!(text, whole);
            }
        }
    }
}
