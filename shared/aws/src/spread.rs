//! Reads of lists that are spread over several partitions, in the order of one list.
//!
//! One partition takes 1,000 writes a second, and a throttled partition of the index throttles writes of the table. So the
//! lists of open runs, of workers and of audit entries have [`keys::SPREAD`](crate::keys::SPREAD) partitions each.

use std::collections::VecDeque;

use engine::ports::Stored;
use futures::future::try_join_all;

use crate::item::{Item, text};
use crate::table::{Query, Table};

/// The maximum number of entries that a read takes from one partition.
const PAGE: usize = 1000;

/// One partition of a list, as far as it was read.
struct Part<'a> {
    query: Query<'a>,
    read: VecDeque<Item>,
    /// The key after which the partition continues. `None` if it was read to its end.
    last: Option<Item>,
}

impl Part<'_> {
    async fn read_more(&mut self, table: &Table) -> Stored<()> {
        // A page whose items have all expired is empty.
        while self.read.is_empty() && self.last.is_some() {
            let from = self.last.take().filter(|key| !key.is_empty());
            let (items, last) = table.query_page(self.query.clone(), from).await?;
            (self.read, self.last) = (items.into(), last);
        }
        Ok(())
    }
}

impl Table {
    /// The first `most` entries of a list: what `query` finds in all these partitions, in the order of the sort key.
    ///
    /// The first read of each partition takes a little more than its share. A partition with more of the first entries is
    /// read again.
    pub(crate) async fn query_spread(&self, partitions: &[String], query: Query<'_>, most: usize) -> Stored<Vec<Item>> {
        let share = most.div_ceil(partitions.len()).saturating_mul(2).min(PAGE).min(most);
        let part = |partition| Part {
            query: Query { partition, limit: Some(share), ..query.clone() },
            read: VecDeque::new(),
            last: Some(Item::new()),
        };
        let mut parts: Vec<Part<'_>> = partitions.iter().map(|partition| part(partition)).collect();
        let sort = if query.index { "index_sk" } else { "sk" };
        let mut found = Vec::new();
        while found.len() < most {
            try_join_all(parts.iter_mut().map(|part| part.read_more(self))).await?;
            parts.retain(|part| !part.read.is_empty());
            // Until one of the partitions must be read again.
            while found.len() < most && !parts.is_empty() && parts.iter().all(|part| !part.read.is_empty()) {
                let mut first = 0;
                for other in 1..parts.len() {
                    let (a, b) = (text(&parts[other].read[0], sort)?, text(&parts[first].read[0], sort)?);
                    let comes_first = if query.descending { a > b } else { a < b };
                    if comes_first {
                        first = other;
                    }
                }
                found.extend(parts[first].read.pop_front());
            }
            if parts.is_empty() {
                break;
            }
        }
        Ok(found)
    }
}
