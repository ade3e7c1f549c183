//! Names of channels.

use std::fmt;
use std::str::FromStr;

/// Most bytes of a name.
const MOST: usize = 63;

/// The name of a channel: 1 to 63 of `a` to `z`, `0` to `9`, `.`, `-` and `_`, of which the first is a letter or digit.
/// So it can be part of a path, of a command line, and of a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// A text that is no name of a channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty, or too long.
    #[error("a channel's name has 1 to {MOST} bytes, not {0}")]
    Len(usize),
    /// A character can't be where it is.
    #[error("a channel's name can't have {found:?} at byte {at}: a to z, 0 to 9, and behind the first . - _")]
    Char {
        /// The character.
        found: char,
        /// Where it is, in bytes from 0.
        at: usize,
    },
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if !(1..=MOST).contains(&text.len()) {
            return Err(NameError::Len(text.len()));
        }
        let fits = |at: usize, it: char| matches!(it, 'a'..='z' | '0'..='9') || at > 0 && matches!(it, '.' | '-' | '_');
        match text.char_indices().find(|(at, found)| !fits(*at, *found)) {
            Some((at, found)) => Err(NameError::Char { found, at }),
            None => Ok(Self(text.into())),
        }
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_part_of_a_path_and_nothing_else_is_a_name() {
        for good in ["a", "0", "vm1.telemetry_2-b", &"x".repeat(63)] {
            assert_eq!(good.parse::<Name>().map(|name| name.to_string()), Ok(good.into()));
        }
        for bad in ["", &"x".repeat(64)] {
            assert_eq!(bad.parse::<Name>(), Err(NameError::Len(bad.len())));
        }
        for (bad, found, at) in [(".a", '.', 0), ("-a", '-', 0), ("a/b", '/', 1), ("aB", 'B', 1), ("a\0", '\0', 1)] {
            assert_eq!(bad.parse::<Name>(), Err(NameError::Char { found, at }));
        }
        assert_eq!("aé".parse::<Name>(), Err(NameError::Char { found: 'é', at: 1 }));
    }
}
