//! The two ends of vhost-user as ports.

use crate::traffic::Port;
use anyhow::Result;
use sluice_vhost_user::frontend::MAX_FRAME;
use sluice_vhost_user::{Frontend, Session};

impl Port for Session {
    fn send(&mut self, pair: u16, frame: &[u8]) -> Result<bool> {
        Ok(self.device().enqueue(pair, frame)?)
    }

    fn flush(&mut self, pair: u16) -> Result<()> {
        Ok(self.device().publish(pair)?)
    }

    fn receive(&mut self, pair: u16, into: &mut [u8]) -> Result<Option<usize>> {
        Ok(self.device().dequeue(pair, into)?)
    }

    fn serve(&mut self) -> Result<()> {
        Ok(Session::serve(self)?)
    }
}

impl Port for Frontend {
    /// Sends in one, two or three descriptors, by turns.
    fn send(&mut self, pair: u16, frame: &[u8]) -> Result<bool> {
        Ok(self.send_in_pieces(pair, frame, 1 + frame.len() % 3)?)
    }

    fn flush(&mut self, pair: u16) -> Result<()> {
        Ok(Frontend::flush(self, pair)?)
    }

    fn receive(&mut self, pair: u16, into: &mut [u8]) -> Result<Option<usize>> {
        Ok(Frontend::receive(self, pair, into)?)
    }

    fn serve(&mut self) -> Result<()> {
        Ok(Frontend::serve(self)?)
    }
}

// The longest frame of a flow can be sent.
const _: () = assert!(crate::traffic::LONGEST <= MAX_FRAME);
