//! A bounded in-memory cache whose entries expire. Every entry is a copy of stored state.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::Millis;

/// Values by key, each with the time at which it was read. Shared by all clones of an engine.
pub(crate) struct Cache<K, V> {
    ttl: Duration,
    capacity: usize,
    entries: Mutex<HashMap<K, Entry<V>>>,
}

struct Entry<V> {
    read_at: Millis,
    value: V,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// An empty cache. An entry is returned until it is `ttl` old. The cache holds at most `capacity` entries.
    pub fn new(ttl: Duration, capacity: usize) -> Self {
        Self { ttl, capacity, entries: Mutex::default() }
    }

    /// The value of a key, unless it has expired.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Millis) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.get_younger(key, self.ttl, now)
    }

    /// The value of a key, if it was read less than `age` ago.
    pub fn get_younger<Q: Eq + Hash + ?Sized>(&self, key: &Q, age: Duration, now: Millis) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entries = self.entries();
        let entry = entries.get(key).filter(|entry| now.since(entry.read_at) < age)?;
        Some(entry.value.clone())
    }

    /// Keeps a value that was read at `now`.
    pub fn insert(&self, key: K, value: V, now: Millis) {
        self.update(key, now, |_| value);
    }

    /// Replaces a value by one that is computed from it, expired or not, and returns `now` as the time of the read.
    pub fn update(&self, key: K, now: Millis, new: impl FnOnce(Option<V>) -> V) {
        let mut entries = self.entries();
        let before = entries.remove(&key);
        if entries.len() >= self.capacity {
            entries.retain(|_, entry| now.since(entry.read_at) < self.ttl);
        }
        if entries.len() >= self.capacity {
            // All entries are fresh. Each is read again when it is next needed.
            entries.clear();
        }
        let value = new(before.map(|entry| entry.value));
        entries.insert(key, Entry { read_at: now, value });
    }

    /// Changes a value, unless it has expired. The time of its read stays.
    pub fn change<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Millis, change: impl FnOnce(&mut V))
    where
        K: Borrow<Q>,
    {
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(key).filter(|entry| now.since(entry.read_at) < self.ttl) {
            change(&mut entry.value);
        }
    }

    /// All values that have not expired.
    pub fn entries_at(&self, now: Millis) -> Vec<(K, V)>
    where
        K: Clone,
    {
        let entries = self.entries();
        let fresh = entries.iter().filter(|(_, entry)| now.since(entry.read_at) < self.ttl);
        fresh.map(|(key, entry)| (key.clone(), entry.value.clone())).collect()
    }

    /// Removes a value that is no longer true.
    pub fn remove<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.entries().remove(key);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<K, Entry<V>>> {
        // A panic can't leave a wrong entry behind: each is inserted whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn cached_value_expires_after_its_time_to_live() {
        let cache = Cache::new(TTL, 2);
        cache.insert("a", 1, Millis(1_000));
        assert_eq!(cache.get("a", Millis(10_999)), Some(1));
        assert_eq!(cache.get("a", Millis(11_000)), None);
        assert_eq!(cache.get_younger("a", Duration::from_secs(1), Millis(2_000)), None);
    }

    #[test]
    fn cache_never_exceeds_its_capacity() {
        let cache = Cache::new(TTL, 4);
        for key in 0..100 {
            cache.insert(key, key, Millis(1_000));
            assert!(cache.entries().len() <= 4);
            assert_eq!(cache.get(&key, Millis(1_000)), Some(key), "the newest entry is always kept");
        }
    }

    #[test]
    fn full_cache_drops_expired_entries_before_fresh_ones() {
        let cache = Cache::new(TTL, 2);
        cache.insert("old", 1, Millis(1_000));
        cache.insert("fresh", 2, Millis(5_000));
        cache.insert("new", 3, Millis(11_000));
        assert_eq!([cache.get("fresh", Millis(11_000)), cache.get("new", Millis(11_000))], [Some(2), Some(3)]);
    }

    #[test]
    fn changed_value_expires_at_the_time_of_its_read() {
        let cache = Cache::new(TTL, 2);
        cache.insert("a", 1, Millis(1_000));
        cache.change("a", Millis(10_999), |value| *value += 1);
        assert_eq!(cache.get("a", Millis(10_999)), Some(2));
        cache.change("a", Millis(11_000), |value| *value += 1);
        assert_eq!([cache.get("a", Millis(11_000)), cache.get("a", Millis(10_999))], [None, Some(2)]);
    }

    #[test]
    fn update_sees_the_expired_value() {
        let cache = Cache::new(TTL, 2);
        cache.insert("a", 1, Millis(1_000));
        cache.update("a", Millis(60_000), |before| before.map_or(0, |value| value + 1));
        assert_eq!(cache.get("a", Millis(60_000)), Some(2));
    }
}
