//! Items about forges. On AWS there are none yet: the engine has no forges there and refuses every request about them before it
//! reads or writes an item.

use engine::forge::store::{DueKind, ForgeItems, Item};
use engine::ports::{StoreError, Stored};
use protocol::Millis;

use crate::aws::Aws;

fn not_here<T>() -> Stored<T> {
    Err(StoreError::Unavailable("a stack on AWS keeps no records about forges".to_owned()))
}

impl ForgeItems for Aws {
    async fn put_item(&self, _item: Item) -> Stored<bool> {
        not_here()
    }

    async fn item(&self, _list: &str, _sort: &str) -> Stored<Option<Item>> {
        not_here()
    }

    async fn items(
        &self,
        _list: &str,
        _prefix: &str,
        _after: Option<&str>,
        _newest_first: bool,
        _limit: usize,
    ) -> Stored<Vec<Item>> {
        not_here()
    }

    async fn remove_item(&self, _list: &str, _sort: &str) -> Stored<bool> {
        not_here()
    }

    async fn items_due(&self, _kind: DueKind, _by: Millis, _limit: usize) -> Stored<Vec<Item>> {
        not_here()
    }

    async fn next_due(&self, _kind: DueKind) -> Stored<Option<Millis>> {
        not_here()
    }
}
