//! Standard input in whole lines, each as soon as it is there, in the memory of one read.

use std::io::{self, Read};

use memchr::memrchr2;

use super::CtlError;

/// How much is read at a time, and the longest line that comes in one piece.
const READ_SIZE: usize = 64 << 10;

/// What has been read.
pub(super) enum Piece<'a> {
    /// Whole lines, with their ends.
    Lines(&'a [u8]),
    /// A part of a long line, of which more follows.
    Part(&'a [u8]),
    /// What is left at the end of the input, without an end of its own; it may be nothing.
    Rest(&'a [u8]),
}

/// Reads `input` to its end and gives it on, piece by piece.
pub(super) fn for_each_piece(
    input: &mut impl Read,
    mut take: impl FnMut(Piece<'_>) -> Result<(), CtlError>,
) -> Result<(), CtlError> {
    let mut buffer = vec![0; READ_SIZE];
    let mut held = 0;
    loop {
        let count = match input.read(&mut buffer[held..]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CtlError::Stdin(error)),
        };
        let end = held + count;
        if count == 0 {
            return take(Piece::Rest(&buffer[..end]));
        }
        let lines_end = memrchr2(b'\n', 0, &buffer[..end]).map_or(0, |newline| newline + 1);
        if lines_end > 0 {
            take(Piece::Lines(&buffer[..lines_end]))?;
        } else if end == buffer.len() {
            take(Piece::Part(&buffer))?;
            held = 0;
            continue;
        }
        buffer.copy_within(lines_end..end, 0);
        held = end - lines_end;
    }
}
