//! Messages on their way to a target: a backlog that is filled at one end and delivered at the
//! other.

use std::collections::VecDeque;

use crate::record::{CONTINUED, CONTINUES, boundary};

/// One message in a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    /// Bytes before the text.
    header: usize,
    /// Bytes in all.
    length: usize,
    /// Whether it is a record, and not a word of bdaemon's own.
    record: bool,
}

/// Messages as a target wants them, in order, with what is left of them to deliver.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    messages: VecDeque<Message>,
    /// Where the first message that is not wholly delivered begins in `bytes`.
    front: usize,
    /// How many bytes of that message have been delivered.
    partial: usize,
    /// Records that wait.
    records: u64,
    /// Records delivered since the last [`Batch::take_delivered`].
    delivered: u64,
}

impl Batch {
    /// Adds a message that `write` appends to the bytes it is given; it says how many bytes of it
    /// stand before the text, and so does this.
    pub(crate) fn push(
        &mut self,
        record: bool,
        write: impl FnOnce(&mut Vec<u8>) -> usize,
    ) -> usize {
        let begin = self.bytes.len();
        let header = write(&mut self.bytes);
        self.messages.push_back(Message { header, length: self.bytes.len() - begin, record });
        self.records += u64::from(record);
        header
    }

    /// Whether everything has been delivered.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn backlog(&self) -> usize {
        self.bytes.len() - self.front - self.partial
    }

    /// Records that wait.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// All bytes that wait, where the target takes a stream.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.bytes[self.front + self.partial..]
    }

    /// The messages that wait, where the target takes them one by one.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = self.front;
        self.messages.iter().map(move |message| {
            let begin = at;
            at += message.length;
            &self.bytes[begin..at]
        })
    }

    /// Notes that so many bytes were taken.
    pub(crate) fn advance_bytes(&mut self, count: usize) {
        self.partial += count;
        if self.front + self.partial == self.bytes.len() {
            // Everything: a file nearly always takes it at once.
            self.delivered += std::mem::take(&mut self.records);
            self.partial = 0;
            self.messages.clear();
        }
        while let Some(message) =
            self.messages.front().filter(|message| message.length <= self.partial)
        {
            self.partial -= message.length;
            self.front += message.length;
            self.delivered += u64::from(message.record);
            self.records -= u64::from(message.record);
            self.messages.pop_front();
        }
        self.forget_delivered();
    }

    /// Notes that so many messages were taken.
    pub(crate) fn advance_messages(&mut self, count: usize) {
        let bytes = self.messages.iter().take(count).map(|message| message.length).sum();
        self.advance_bytes(bytes);
    }

    /// Forgets that a part of the first message was taken: whoever took it is gone, and the next
    /// one is to have the whole.
    pub(crate) fn restart_message(&mut self) {
        self.partial = 0;
    }

    /// The records delivered since this was last asked.
    pub(crate) fn take_delivered(&mut self) -> u64 {
        std::mem::take(&mut self.delivered)
    }

    fn forget_delivered(&mut self) {
        if self.messages.is_empty() {
            self.bytes.clear();
            self.front = 0;
        } else if self.front > self.bytes.len() / 2 {
            self.bytes.drain(..self.front);
            self.front = 0;
        }
    }

    /// Splits the message added last as a long record is split, into messages of at most `limit`
    /// bytes with the same header.
    pub(crate) fn split_last(&mut self, limit: usize) {
        let Some(message) = self.messages.pop_back() else { return };
        self.records -= u64::from(message.record);
        let whole = self.bytes.split_off(self.bytes.len() - message.length);
        self.push_parts(message, &whole, limit);
    }

    /// Splits every waiting message longer than `limit`: the target has turned out to take less
    /// than was thought. The first of them must not have been taken in part.
    pub(crate) fn split_over(&mut self, limit: usize) {
        let mut narrow = Self { delivered: self.delivered, ..Self::default() };
        for (message, whole) in self.messages.iter().zip(self.messages()) {
            narrow.push_parts(*message, whole, limit);
        }
        *self = narrow;
    }

    fn push_parts(&mut self, message: Message, whole: &[u8], limit: usize) {
        let (header, text) = whole.split_at(message.header);
        for part in Parts::of(text, limit.saturating_sub(message.header)) {
            // A record counts once, when its last part has gone.
            self.push(message.record && !part.continues, |bytes| {
                bytes.extend_from_slice(header);
                part.append_to(bytes);
                header.len()
            });
        }
    }
}

/// A part of a text, with its markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub(crate) text: &'a [u8],
    /// Whether another part came before.
    pub(crate) continued: bool,
    /// Whether another part comes after.
    pub(crate) continues: bool,
}

impl<'a> Part<'a> {
    /// What is written: a marker, the text, a marker.
    pub(crate) fn pieces(self) -> [&'a [u8]; 3] {
        let marker = |there, marker: &'static str| if there { marker.as_bytes() } else { b"" };
        [marker(self.continued, CONTINUED), self.text, marker(self.continues, CONTINUES)]
    }

    /// The length of all pieces.
    pub(crate) fn length(self) -> usize {
        self.pieces().iter().map(|piece| piece.len()).sum()
    }

    pub(crate) fn append_to(self, bytes: &mut Vec<u8>) {
        if self.continued {
            bytes.extend_from_slice(CONTINUED.as_bytes());
        }
        bytes.extend_from_slice(self.text);
        if self.continues {
            bytes.extend_from_slice(CONTINUES.as_bytes());
        }
    }
}

/// A text in parts that each fit into `room` bytes with their markers.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    rest: &'a [u8],
    room: usize,
    continued: bool,
    more: bool,
}

impl<'a> Parts<'a> {
    /// At least one part, be it empty. A `room` without place for the markers and a character is
    /// taken as one that has it.
    pub(crate) fn of(text: &'a [u8], room: usize) -> Self {
        let least = CONTINUED.len() + CONTINUES.len() + r"\xNN".len();
        Self { rest: text, room: room.max(least), continued: false, more: true }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        if !std::mem::take(&mut self.more) {
            return None;
        }
        let continued = std::mem::replace(&mut self.continued, true);
        let room = self.room - if continued { CONTINUED.len() } else { 0 };
        if self.rest.len() <= room {
            return Some(Part { text: self.rest, continued, continues: false });
        }
        let (text, rest) = self.rest.split_at(boundary(self.rest, room - CONTINUES.len()));
        self.rest = rest;
        self.more = true;
        Some(Part { text, continued, continues: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of messages with a header of two bytes.
    fn batch(texts: &[&str]) -> Batch {
        let mut batch = Batch::default();
        for text in texts {
            batch.push(true, |bytes| {
                bytes.extend_from_slice(b"h ");
                bytes.extend_from_slice(text.as_bytes());
                2
            });
        }
        batch
    }

    fn messages(batch: &Batch) -> Vec<String> {
        batch.messages().map(|message| String::from_utf8(message.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_message_counts_when_its_last_byte_was_taken() {
        let mut batch = batch(&["one", "two", "three"]);
        batch.advance_bytes(7);
        assert_eq!((batch.take_delivered(), batch.unsent()), (1, &b"twoh three"[..]));
        assert_eq!(messages(&batch), ["h two", "h three"]);
        batch.restart_message();
        assert_eq!(batch.unsent(), b"h twoh three");
        batch.advance_messages(1);
        assert_eq!((batch.take_delivered(), batch.records(), batch.backlog()), (1, 1, 7));
        batch.advance_bytes(7);
        assert_eq!((batch.take_delivered(), batch.is_empty()), (1, true));
    }

    #[test]
    fn what_is_too_long_is_split_with_the_header_on_each_part() {
        let long = "abcdefghijklmnopqrstuvwxyz0123456789";
        let mut batch = batch(&["gone", "short", long, "end"]);
        batch.advance_messages(1);
        batch.split_over(24);
        let split = messages(&batch);
        assert_eq!(split[0], "h short");
        assert_eq!(split[1], "h abcdefghijklmnop [...]");
        assert_eq!(split[2], "h [...] qrstuvwxyz [...]");
        assert_eq!(split[3], "h [...] 0123456789");
        assert_eq!(split[4], "h end");
        assert!(split.iter().all(|message| message.len() <= 24));
        // The record counts once, with its last part, and what had gone still counts.
        assert_eq!(batch.records(), 3);
        batch.advance_messages(5);
        assert_eq!(batch.take_delivered(), 4);
    }

    #[test]
    fn a_limit_without_room_still_makes_headway() {
        let mut batch = batch(&["abcdefghijklmnopqrstuvwxyz"]);
        batch.split_over(1);
        let text: String = messages(&batch)
            .iter()
            .map(|message| message[2..].replace("[...] ", "").replace(" [...]", ""))
            .collect();
        assert_eq!(text, "abcdefghijklmnopqrstuvwxyz");
    }

    #[test]
    fn what_was_delivered_takes_no_memory() {
        let mut batch = Batch::default();
        for _ in 0..10_000 {
            for _ in 0..10 {
                batch.push(true, |bytes| {
                    bytes.extend_from_slice(&[b'x'; 100]);
                    0
                });
            }
            batch.advance_messages(9);
            batch.advance_messages(1);
        }
        assert!(batch.bytes.capacity() < 10_000, "{}", batch.bytes.capacity());
    }
}
