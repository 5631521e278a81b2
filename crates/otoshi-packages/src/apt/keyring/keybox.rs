//! A keybox, GnuPG's own form of a keyring: blobs with a header each, of which those of type 2 hold a key.
//!
//! Source: GnuPG's `kbx/keybox-blob.c`, which describes the form in its first comment.

/// Says whether a file is a keybox.
pub(super) fn is(bytes: &[u8]) -> bool {
    bytes.get(8..12) == Some(b"KBXf")
}

/// Returns the keys, one behind the other.
pub(super) fn open(bytes: &[u8]) -> Vec<u8> {
    const OPENPGP: u8 = 2;
    let mut keys = Vec::new();
    let mut rest = bytes;
    let number = |bytes: &[u8], at: usize| {
        let digits = bytes.get(at..)?.first_chunk()?;
        usize::try_from(u32::from_be_bytes(*digits)).ok()
    };
    while let Some(length) = number(rest, 0).filter(|length| (5..=rest.len()).contains(length)) {
        let (blob, after) = rest.split_at(length);
        rest = after;
        let key = || {
            let (start, size) = (number(blob, 8)?, number(blob, 12)?);
            blob.get(start..start.checked_add(size)?)
        };
        if blob[4] == OPENPGP {
            keys.extend_from_slice(key().unwrap_or_default());
        }
    }
    keys
}
