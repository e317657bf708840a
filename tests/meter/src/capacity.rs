//! Read and write units of `DynamoDB`, by AWS's pages "`DynamoDB` read and write operations" and "Using Global Secondary
//! Indexes in `DynamoDB`".

/// The number of bytes that one write unit covers.
const WRITE_BLOCK: usize = 1024;
/// The number of bytes that one read unit covers.
const READ_BLOCK: usize = 4096;

/// How a read sees recent writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Half the units of a strong read.
    Eventual,
    /// Sees every write that was answered.
    Strong,
    /// Twice the units of a strong read.
    Transaction,
}

impl Reading {
    fn factor(self) -> f64 {
        match self {
            Self::Eventual => 0.5,
            Self::Strong => 1.0,
            Self::Transaction => 2.0,
        }
    }
}

/// The units of `bytes` in blocks of this size. No bytes count as one block: a missing item, an empty page.
fn blocks(bytes: usize, block: usize) -> f64 {
    u32::try_from(bytes.div_ceil(block).max(1)).map_or(f64::MAX, f64::from)
}

/// The read units of items that are read one by one: `GetItem`, `BatchGetItem`, `TransactGetItems`. A missing item has size 0.
#[must_use]
pub fn read_each(sizes: impl IntoIterator<Item = usize>, reading: Reading) -> f64 {
    sizes.into_iter().map(|size| blocks(size, READ_BLOCK) * reading.factor()).sum()
}

/// The read units of one page of a query whose items have these sizes.
#[must_use]
pub fn read_page(sizes: impl IntoIterator<Item = usize>, reading: Reading) -> f64 {
    blocks(sizes.into_iter().sum(), READ_BLOCK) * reading.factor()
}

/// The write units in a table of one write, from the item's size before and after. 0 is a missing item. A refused write has
/// the same size before and after.
#[must_use]
pub fn write(before: usize, after: usize, in_transaction: bool) -> f64 {
    blocks(before.max(after), WRITE_BLOCK) * if in_transaction { 2.0 } else { 1.0 }
}

/// An item's entry in an index: the entry's key and its size in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The partition key and the sort key of the index.
    pub key: (String, String),
    /// The size of all projected attributes.
    pub size: usize,
}

/// The write units in an index that projects keys only: one for an entry that appears or disappears, two for one whose key
/// changes, none for one that stays. Each is counted for every KB of the entry.
#[must_use]
pub fn write_index(before: Option<&Entry>, after: Option<&Entry>, in_transaction: bool) -> f64 {
    let each = |entry: &Entry| write(0, entry.size, in_transaction);
    match (before, after) {
        (Some(before), Some(after)) if before == after => 0.0,
        (Some(before), Some(after)) if before.key == after.key => each(before).max(each(after)),
        (before, after) => before.into_iter().chain(after).map(each).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KB: usize = 1024;

    fn same(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-9, "{one} and {other}");
    }

    /// "If your item size is 8 KB": 2 strong, 1 eventual, 4 in a transaction.
    #[test]
    fn reads_count_in_blocks_of_4_kb() {
        same(read_each([8 * KB], Reading::Strong), 2.0);
        same(read_each([8 * KB], Reading::Eventual), 1.0);
        same(read_each([8 * KB], Reading::Transaction), 4.0);
        // "a 3.5 KB item ... 4 KB", "a 10 KB item ... 12 KB", "a 3,500-byte item".
        same(read_each([3584], Reading::Strong), 1.0);
        same(read_each([10 * KB], Reading::Strong), 3.0);
        same(read_each([3500], Reading::Strong), 1.0);
    }

    /// `BatchGetItem` of 1.5 KB and 6.5 KB is 12 KB, not 8 KB.
    #[test]
    fn items_of_a_batch_are_rounded_up_each() {
        same(read_each([1536, 6656], Reading::Strong), 3.0);
    }

    /// Ten items of 40.8 KB together are 44 KB; 1,500 items of 64 bytes are 96 KB.
    #[test]
    fn a_query_is_rounded_up_once() {
        same(read_page([4178; 10], Reading::Strong), 11.0);
        same(read_page([64; 1500], Reading::Strong), 24.0);
        same(read_page([64; 1500], Reading::Eventual), 12.0);
    }

    #[test]
    fn what_is_missing_costs_a_read_too() {
        same(read_each([0], Reading::Strong), 1.0);
        same(read_each([0], Reading::Eventual), 0.5);
        same(read_page([], Reading::Eventual), 0.5);
    }

    /// 500 bytes count as 1 KB, and `BatchWriteItem` of 500 bytes and 3.5 KB as 5 KB.
    #[test]
    fn writes_count_in_blocks_of_1_kb() {
        same(write(0, 500, false), 1.0);
        same(write(0, 500, false) + write(0, 3584, false), 5.0);
        same(write(0, 512, true), 2.0);
        same(write(0, 3 * KB, true), 6.0);
    }

    /// An update counts the larger of the item before and after, even if only a part changes.
    #[test]
    fn the_larger_of_old_and_new_counts() {
        same(write(3 * KB, 500, false), 3.0);
        same(write(500, 3 * KB, false), 3.0);
        same(write(2 * KB, 0, false), 2.0);
    }

    #[test]
    fn a_refused_write_costs_what_is_there_and_one_unit_if_nothing_is() {
        same(write(2 * KB, 2 * KB, false), 2.0);
        same(write(0, 0, false), 1.0);
    }

    fn entry(pk: &str, sk: &str) -> Entry {
        Entry { key: (pk.to_owned(), sk.to_owned()), size: 100 }
    }

    #[test]
    fn an_index_is_written_when_an_entry_appears_moves_or_disappears() {
        let (open, later) = (entry("OPEN", "1"), entry("OPEN", "2"));
        same(write_index(None, Some(&open), false), 1.0);
        same(write_index(Some(&open), Some(&later), false), 2.0);
        same(write_index(Some(&later), None, false), 1.0);
        same(write_index(Some(&open), Some(&open), false), 0.0);
        same(write_index(None, None, false), 0.0);
        same(write_index(None, Some(&open), true), 2.0);
    }
}
