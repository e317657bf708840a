//! Compression of what is stored as bytes: log batches and definitions.

use std::io::{Read, Write};

use engine::ports::Stored;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::error::corrupt;

/// A compressed value up to this size is kept in its item; a larger one in the bucket.
pub(crate) const IN_ITEM: usize = 8 * 1024;

/// Compresses bytes.
pub(crate) fn compress(bytes: &[u8]) -> Stored<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).map_err(corrupt)?;
    encoder.finish().map_err(corrupt)
}

/// Reverses [`compress`].
pub(crate) fn decompress(compressed: &[u8]) -> Stored<Vec<u8>> {
    let mut bytes = Vec::new();
    ZlibDecoder::new(compressed).read_to_end(&mut bytes).map_err(corrupt)?;
    Ok(bytes)
}
