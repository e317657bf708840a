//! Groups in memory.

use engine::ids::{GroupKey, Unit};
use engine::ports::{Consistency, GroupStore, Place, Stored};
use protocol::Millis;

use crate::store::Memory;

impl GroupStore for Memory {
    async fn put_place(&self, group: &GroupKey, place: &Place) -> Stored<()> {
        self.state().places.insert((group.clone(), place.order()), place.clone());
        Ok(())
    }

    async fn remove_place(&self, group: &GroupKey, place: &Place) -> Stored<()> {
        self.state().places.remove(&(group.clone(), place.order()));
        Ok(())
    }

    async fn places(&self, group: &GroupKey, after: Option<&Place>, most: usize) -> Stored<Vec<Place>> {
        let state = self.state();
        let first = (group.clone(), after.map_or((Millis(0), String::new()), Place::order));
        let from = state.places.range(first.clone()..).skip_while(|(key, _)| **key == first);
        Ok(from.take_while(|((of, _), _)| of == group).take(most).map(|(_, place)| place.clone()).collect())
    }

    async fn holder(&self, group: &GroupKey, _how: Consistency) -> Stored<Option<Unit>> {
        Ok(self.state().holders.get(group).cloned())
    }

    async fn hold(&self, group: &GroupKey, before: Option<&Unit>, next: &Unit) -> Stored<bool> {
        let mut state = self.state();
        let now = state.holders.get(group);
        if now == Some(next) {
            return Ok(true);
        }
        let is_free = now == before;
        if is_free {
            state.holders.insert(group.clone(), next.clone());
        }
        Ok(is_free)
    }
}
