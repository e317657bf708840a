//! A model of `DynamoDB`'s limits, on a clock that the measurement moves.
//!
//! A second of this clock lasts until the measurement begins the next one, however long the emulator takes for its calls. Each unit that the
//! functions use stands for `weight` units, so that a load that the emulator can't serve is reached by a few calls.
//!
//! A key serves calls in a second until its units are used up, as `DynamoDB` does: the call that exceeds the limit is served, and the next one is
//! refused. A write that touches a key of the index that is used up is refused too, although its key of the table isn't. The units of a new table
//! are only noted, since the table grows. Left out: the capacity of up to five minutes that a key may have saved, and the splitting of a table's
//! partitions under a lasting load.

use std::collections::BTreeMap;

use cost::Usage;

/// Write units a second of one partition key, of the table or of its index.
pub const KEY_WRITES: f64 = 1000.0;
/// Read units a second of one partition key.
pub const KEY_READS: f64 = 3000.0;
/// Write units a second of a new table.
pub const TABLE_WRITES: f64 = 4000.0;
/// Read units a second of a new table.
pub const TABLE_READS: f64 = 12_000.0;

/// What kind of units is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// Of writes.
    Writes,
    /// Of reads.
    Reads,
}

impl Units {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Writes => "writes",
            Self::Reads => "reads",
        }
    }

    fn of(self, usage: &Usage) -> f64 {
        match self {
            Self::Writes => usage.write_units,
            Self::Reads => usage.read_units,
        }
    }
}

/// The first call that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The partition key that is used up. One of the index begins with `index `.
    pub key: String,
    /// The kind of its units.
    pub units: Units,
}

/// The limits, and what was used of them in this second.
#[derive(Debug)]
pub struct Limits {
    weight: f64,
    used: BTreeMap<String, Usage>,
    table: Usage,
    table_used_up: Option<Units>,
    refusal: Option<Refusal>,
}

impl Limits {
    /// Each unit stands for `weight` units.
    #[must_use]
    pub fn new(weight: f64) -> Self {
        Self { weight, used: BTreeMap::new(), table: Usage::default(), table_used_up: None, refusal: None }
    }

    /// Begins the next second.
    pub fn tick(&mut self) {
        self.used.clear();
        self.table = Usage::default();
    }

    /// Adds what a call that was served used of a key.
    pub fn use_up(&mut self, key: &str, usage: Usage) {
        *self.used.entry(key.to_owned()).or_default() += usage * self.weight;
        self.table += usage * self.weight;
        let limits = [(Units::Writes, TABLE_WRITES), (Units::Reads, TABLE_READS)];
        let used_up = limits.into_iter().find(|(units, limit)| units.of(&self.table) > *limit);
        self.table_used_up = self.table_used_up.or(used_up.map(|(units, _)| units));
    }

    /// The units that a new table ran out of first.
    #[must_use]
    pub fn table_used_up(&self) -> Option<Units> {
        self.table_used_up
    }

    /// Asks for a call that touches these keys. Returns false if it is refused, because one of them is used up. Only the first
    /// refusal counts: a client repeats its call later, so the next second begins.
    pub fn admits<'a>(&mut self, units: Units, keys: impl IntoIterator<Item = &'a str>) -> bool {
        let limit = if units == Units::Writes { KEY_WRITES } else { KEY_READS };
        let is_used_up = |key: &&str| self.used.get(*key).is_some_and(|used| units.of(used) >= limit);
        let Some(key) = keys.into_iter().find(is_used_up) else { return true };
        self.refusal.get_or_insert(Refusal { key: key.to_owned(), units });
        self.tick();
        false
    }

    /// The keys of the index of which something was used in this second, without `index `.
    pub fn index_keys(&self) -> impl Iterator<Item = &str> {
        self.used.keys().filter_map(|key| key.strip_prefix("index "))
    }

    /// The first refusal so far.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(write_units: f64) -> Usage {
        Usage { write_units, ..Usage::default() }
    }

    #[test]
    fn key_serves_a_thousand_writes_a_second() {
        let mut limits = Limits::new(10.0);
        for _ in 0..100 {
            assert!(limits.admits(Units::Writes, ["R#1"]));
            limits.use_up("R#1", writes(1.0));
        }
        assert!(limits.admits(Units::Writes, ["R#2"]), "another key");
        assert!(limits.admits(Units::Reads, ["R#1"]), "reads have units of their own");
        assert!(!limits.admits(Units::Writes, ["R#1"]));
        let refusal = Refusal { key: "R#1".to_owned(), units: Units::Writes };
        assert_eq!(limits.refusal(), Some(&refusal));
        assert!(limits.admits(Units::Writes, ["R#1"]), "the repeated call is in the next second");
    }

    #[test]
    fn next_second_begins_with_all_units() {
        let mut limits = Limits::new(1000.0);
        limits.use_up("R#1", writes(1.0));
        limits.tick();
        assert!(limits.admits(Units::Writes, ["R#1"]));
    }

    #[test]
    fn used_up_key_of_the_index_holds_back_writes_of_the_table() {
        let mut limits = Limits::new(1.0);
        limits.use_up("index OPEN#1", writes(1000.0));
        assert_eq!(limits.index_keys().collect::<Vec<_>>(), ["OPEN#1"]);
        assert!(!limits.admits(Units::Writes, ["R#1", "index OPEN#1"]));
        assert_eq!(limits.refusal().map(|refusal| refusal.key.as_str()), Some("index OPEN#1"));
    }

    #[test]
    fn many_keys_together_use_up_a_new_table() {
        let mut limits = Limits::new(1.0);
        for key in 0..5 {
            limits.use_up(&format!("R#{key}"), writes(900.0));
        }
        assert_eq!(limits.table_used_up(), Some(Units::Writes));
        assert!(limits.admits(Units::Writes, ["R#9"]), "it is only noted");
    }
}
