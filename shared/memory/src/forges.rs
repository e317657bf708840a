//! Items about forges in memory.

use engine::forge::store::{DueKind, ForgeItems, Item};
use engine::ports::Stored;
use protocol::Millis;

use crate::store::{Memory, State};

impl State {
    fn due_items(&self, kind: DueKind) -> Vec<&Item> {
        let items = self.forge_items.values();
        let mut due: Vec<&Item> =
            items.filter(|item| item.due.is_some() && DueKind::of_list(&item.list) == kind).collect();
        due.sort_by_key(|item| item.due);
        due
    }
}

impl ForgeItems for Memory {
    async fn put_item(&self, item: Item) -> Stored<bool> {
        let mut state = self.state();
        let key = (item.list.clone(), item.sort.clone());
        let before = state.forge_items.get(&key).map_or(0, |item| item.version);
        let fits = item.version == 0 || before + 1 == item.version;
        if fits {
            state.forge_items.insert(key, item);
        }
        Ok(fits)
    }

    async fn item(&self, list: &str, sort: &str) -> Stored<Option<Item>> {
        Ok(self.state().forge_items.get(&(list.to_owned(), sort.to_owned())).cloned())
    }

    async fn items(
        &self,
        list: &str,
        prefix: &str,
        after: Option<&str>,
        newest_first: bool,
        limit: usize,
    ) -> Stored<Vec<Item>> {
        let state = self.state();
        let from = (list.to_owned(), prefix.to_owned());
        let all = state.forge_items.range(from..).map(|(_, item)| item);
        let all = all.take_while(|item| item.list == list && item.sort.starts_with(prefix));
        let mut all: Vec<&Item> = all.collect();
        if newest_first {
            all.reverse();
        }
        let is_after = |item: &&&Item| {
            after.is_none_or(|after| if newest_first { item.sort.as_str() < after } else { item.sort.as_str() > after })
        };
        Ok(all.iter().filter(is_after).take(limit).map(|item| (*item).clone()).collect())
    }

    async fn remove_item(&self, list: &str, sort: &str) -> Stored<bool> {
        Ok(self.state().forge_items.remove(&(list.to_owned(), sort.to_owned())).is_some())
    }

    async fn items_due(&self, kind: DueKind, by: Millis, limit: usize) -> Stored<Vec<Item>> {
        let state = self.state();
        let due = state.due_items(kind).into_iter().filter(|item| item.due.is_some_and(|due| due <= by));
        Ok(due.take(limit).cloned().collect())
    }

    async fn next_due(&self, kind: DueKind) -> Stored<Option<Millis>> {
        Ok(self.state().due_items(kind).first().and_then(|item| item.due))
    }
}
