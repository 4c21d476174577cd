//! Object ids.

use std::fmt;

/// Bytes in a SHA-1 id.
pub(super) const SIZE: usize = 20;

/// An object's id: its SHA-1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(pub(super) [u8; SIZE]);

impl Id {
    /// Reads forty hexadecimal digits of either case, as git does.
    pub(super) fn from_hex(hex: &[u8]) -> Option<Self> {
        let mut id = [0; SIZE];
        if hex.len() != 2 * SIZE {
            return None;
        }
        for (byte, pair) in id.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(id))
    }

    /// How many hexadecimal digits the two have in common from the start.
    pub(super) fn common_digits(&self, other: &Self) -> usize {
        let pairs = self.0.iter().zip(&other.0);
        match pairs.clone().position(|(a, b)| a != b) {
            None => 2 * SIZE,
            Some(at) if self.0[at] >> 4 == other.0[at] >> 4 => 2 * at + 1,
            Some(at) => 2 * at,
        }
    }

    /// The first `digits` hexadecimal digits.
    pub(super) fn short(&self, digits: usize) -> String {
        let mut hex = self.to_string();
        hex.truncate(digits);
        hex
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).map(|digit| digit as u8)
}
