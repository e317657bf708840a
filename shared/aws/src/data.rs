//! Compressed bytes in an item, or in the bucket if they are large: specs, definitions and batches of logs.

use std::io::{Read, Write};

use aws_sdk_dynamodb::types::AttributeValue;
use engine::ports::Stored;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::aws::Aws;
use crate::error::corrupt;
use crate::item::{self, Item, bytes, expires_on, string};
use crate::keys::Key;

/// Compressed data up to this size is kept in its item, unless the caller has another limit.
pub(crate) const IN_ITEM: usize = 8 * 1024;

impl Aws {
    /// An item with this data. If the compressed data has more than `limit` bytes, it is put into the bucket first, under
    /// the name `object`.
    pub(crate) async fn data_item(&self, key: Key, data: &[u8], limit: usize, object: String) -> Stored<Item> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(data).map_err(corrupt)?;
        let data = encoder.finish().map_err(corrupt)?;
        let attribute = if data.len() <= limit {
            ("data", bytes(data))
        } else {
            self.objects.put(&object, data, "application/zlib").await?;
            ("object", string(object))
        };
        Ok(item::item(key, expires_on(), [attribute]))
    }

    /// The data of an item that [`Self::data_item`] made, or `None` if it is no longer in the bucket.
    pub(crate) async fn data(&self, item: &Item) -> Stored<Option<Vec<u8>>> {
        let fetched;
        let compressed = if let Some(AttributeValue::B(data)) = item.get("data") {
            data.as_ref()
        } else {
            let Some(object) = self.objects.get(item::text(item, "object")?).await? else { return Ok(None) };
            fetched = object;
            &fetched
        };
        let mut data = Vec::new();
        ZlibDecoder::new(compressed).read_to_end(&mut data).map_err(corrupt)?;
        Ok(Some(data))
    }
}
