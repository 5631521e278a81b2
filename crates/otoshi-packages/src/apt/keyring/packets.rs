//! A file of keys, packet by packet. Rings of keys that programs keep for themselves have more in them than keys: notes on
//! trust, markers, packets of a kind that came later. What is no part of a key is passed over; a key that cannot be read does
//! not hide the others.
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc9580.html#section-4.2>

use pgp::composed::{Deserializable, SignedPublicKey, SignedSecretKey};
use pgp::packet::{Packet, PacketParser};
use pgp::types::Tag;

/// The most keys that are read of one file.
const MOST: usize = 1000;

/// What a file of keys has.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// The keys that could be read.
    pub(super) keys: Vec<SignedPublicKey>,
    /// Why a key, or all that follows, was left out.
    pub(super) reason: Option<String>,
    /// Says whether it ends in the middle of a packet, or goes on with something that is none. The key before that is left
    /// out, as nobody knows where it ends.
    pub(super) is_cut: bool,
}

/// Reads keys one behind the other; with `of_secrets`, the public parts of secret keys, too.
pub(super) fn read(bytes: &[u8], of_secrets: bool) -> Read {
    let mut found = Read::default();
    let mut block: Vec<Packet> = Vec::new();
    // After a key, or a part of one, that is not known, what belongs to it is passed over.
    let mut skips = Skips::Nothing;
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some((tag, packet, after)) = split(rest) else {
            found.is_cut = true;
            found.reason = Some("it contains something that is not a key packet, or is cut off".to_owned());
            return found;
        };
        rest = after;
        let is_primary = matches!(tag, Tag::PublicKey | Tag::SecretKey);
        let is_unwanted = tag == Tag::SecretKey && !of_secrets;
        let is_part = matches!(
            tag,
            Tag::UserId | Tag::UserAttribute | Tag::PublicSubkey | Tag::SecretSubkey | Tag::Signature
        );
        if !is_primary && !is_part {
            continue;
        }
        if is_primary {
            found.finish(std::mem::take(&mut block));
            if found.keys.len() >= MOST {
                found.reason = Some(format!("it has more than {MOST} keys"));
                return found;
            }
        }
        match (skips, tag) {
            _ if is_unwanted => {
                skips = Skips::Key;
                continue;
            }
            _ if is_primary => skips = Skips::Nothing,
            (Skips::Key, _) | (Skips::Part, Tag::Signature) => continue,
            (Skips::Part, _) => skips = Skips::Nothing,
            (Skips::Nothing, _) => {}
        }
        match PacketParser::new(packet).next() {
            Some(Ok(packet)) => block.push(packet),
            other => {
                let reason = other.and_then(Result::err).map(|error| error.to_string());
                found.reason = reason.or_else(|| Some("a packet is empty".to_owned()));
                skips = match tag {
                    _ if is_primary => Skips::Key,
                    Tag::Signature => Skips::Nothing,
                    _ => Skips::Part,
                };
            }
        }
    }
    found.finish(block);
    found
}

/// What is passed over after a packet that cannot be read.
#[derive(Debug, Clone, Copy)]
enum Skips {
    Nothing,
    /// The signatures of a part of a key.
    Part,
    /// All up to the next key.
    Key,
}

impl Read {
    /// Makes a key of its packets.
    fn finish(&mut self, block: Vec<Packet>) {
        let is_secret = matches!(block.first(), Some(Packet::SecretKey(_)));
        let packets = block.into_iter().map(Ok).peekable();
        let key = if is_secret {
            SignedSecretKey::from_packets(packets).next().map(|key| key.map(|key| key.to_public_key()))
        } else {
            SignedPublicKey::from_packets(packets).next()
        };
        match key {
            Some(Ok(key)) => self.keys.push(key),
            Some(Err(error)) => self.reason = Some(error.to_string()),
            None => {}
        }
    }
}

/// Splits off one packet: its kind, its bytes with their header, and what follows. `None` where there is none.
fn split(bytes: &[u8]) -> Option<(Tag, &[u8], &[u8])> {
    let first = *bytes.first()?;
    if first & 0x80 == 0 {
        return None;
    }
    let number = |start: usize, length: usize| {
        let digits = bytes.get(start..start + length)?;
        Some(digits.iter().fold(0_usize, |number, digit| number << 8 | usize::from(*digit)))
    };
    let (tag, start, length) = if first & 0x40 == 0 {
        // The old form: the size of the length is in the first byte, and no length at all would reach to the end.
        let size = match first & 3 {
            0 => 1,
            1 => 2,
            2 => 4,
            _ => return None,
        };
        (first >> 2 & 15, 1 + size, number(1, size)?)
    } else {
        let (start, length) = match number(1, 1)? {
            short @ 0..=191 => (2, short),
            long @ 192..=223 => (3, ((long - 192) << 8) + number(2, 1)? + 192),
            255 => (6, number(2, 4)?),
            // Keys never come in parts of a length that is not known.
            _ => return None,
        };
        (first & 63, start, length)
    };
    let end = start.checked_add(length).filter(|end| *end <= bytes.len())?;
    Some((Tag::from(tag), &bytes[..end], &bytes[end..]))
}
