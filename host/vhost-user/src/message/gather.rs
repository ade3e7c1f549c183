//! A message that comes in pieces.

use super::header::{HEADER_LEN, Header, MAX_BODY, Refused};
use super::request::Message;
use zerocopy::FromBytes;

/// The bytes of a message that have come so far.
pub struct Gathering {
    bytes: [u8; HEADER_LEN + MAX_BODY],
    len: usize,
}

impl Default for Gathering {
    fn default() -> Self {
        Self { bytes: [0; HEADER_LEN + MAX_BODY], len: 0 }
    }
}

impl Gathering {
    /// Returns how many bytes have come.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether no byte has come.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the header, once it is whole.
    ///
    /// # Errors
    /// No message begins with that.
    pub fn header(&self) -> Result<Option<Header>, Refused> {
        let Some(header) = self.bytes.get(..self.len).and_then(|bytes| Header::read_from_prefix(bytes).ok()) else {
            return Ok(None);
        };
        let (header, _) = header;
        header.checked().map(Some).map_err(|fault| Refused { request: header.code(), fault })
    }

    /// Returns the room for the bytes that come next: of this message's header, or of its body. There is none once the
    /// message is whole.
    ///
    /// # Errors
    /// As [`Gathering::header`].
    pub fn room(&mut self) -> Result<&mut [u8], Refused> {
        let body = self.header()?.map_or(0, |header| header.size as usize);
        Ok(self.bytes.get_mut(self.len..HEADER_LEN + body).unwrap_or_default())
    }

    /// Counts the first `count` bytes of the room as come.
    pub fn add(&mut self, count: usize) {
        self.len = (self.len + count).min(self.bytes.len());
    }

    /// Takes the message, if it is whole, and begins the next one.
    ///
    /// # Errors
    /// As [`Gathering::header`] and [`Message::read`].
    pub fn take(&mut self) -> Result<Option<(Header, Message)>, Refused> {
        let Some(header) = self.header()? else { return Ok(None) };
        let end = HEADER_LEN + header.size as usize;
        let Some(body) = self.bytes.get(HEADER_LEN..end).filter(|_| self.len >= end) else { return Ok(None) };
        let message = Message::read(&header, body).map_err(|fault| Refused { request: header.code(), fault })?;
        self.len = 0;
        Ok(Some((header, message)))
    }
}
