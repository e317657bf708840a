//! Groups.

use engine::ids::{GroupKey, Unit};
use engine::ports::{Consistency, GroupStore, Place, Stored};
use rusqlite::{Connection, Row};

use crate::rows::{all, corrupt, execute, failed, from_time, one, to_limit, to_time};
use crate::store::Sqlite;

/// The number of places that one read returns.
const PAGE: usize = 256;

/// The unit in a row's column.
fn unit(row: &Row<'_>, column: usize) -> Stored<Unit> {
    let text: String = row.get(column).map_err(failed)?;
    Unit::parse(&text).ok_or_else(|| corrupt(format!("{text:?} is neither a job nor a run")))
}

fn read_holder(db: &Connection, group: &GroupKey) -> Stored<Option<Unit>> {
    one(db, "SELECT unit FROM holders WHERE group_key = ?1", [group.as_str()], |row| unit(row, 0))
}

impl GroupStore for Sqlite {
    async fn put_place(&self, group: &GroupKey, place: &Place) -> Stored<()> {
        let (group, place) = (group.clone(), place.clone());
        self.write(move |db| {
            let text = "INSERT OR REPLACE INTO places (group_key, at, unit, yields, run) VALUES (?1, ?2, ?3, ?4, ?5)";
            let (unit, run) = (place.unit.text(), place.unit.run().as_str());
            execute(db, text, (group.as_str(), to_time(place.at), unit, place.yields, run)).map(drop)
        })
        .await
    }

    async fn remove_place(&self, group: &GroupKey, place: &Place) -> Stored<()> {
        let (group, place) = (group.clone(), place.clone());
        self.write(move |db| {
            let text = "DELETE FROM places WHERE group_key = ?1 AND at = ?2 AND unit = ?3";
            execute(db, text, (group.as_str(), to_time(place.at), place.unit.text())).map(drop)
        })
        .await
    }

    async fn places(&self, group: &GroupKey, after: Option<&Place>, most: usize) -> Stored<Vec<Place>> {
        let text = "SELECT at, unit, yields FROM places WHERE group_key = ?1 AND (at, unit) > (?2, ?3)
                    ORDER BY at, unit LIMIT ?4";
        let (at, last) = after.map_or((-1, String::new()), |place| (to_time(place.at), place.unit.text()));
        self.read(|db| {
            all(db, text, (group.as_str(), at, last, to_limit(most.min(PAGE))), |row| {
                let at = from_time(row.get(0).map_err(failed)?);
                Ok(Place { at, unit: unit(row, 1)?, yields: row.get(2).map_err(failed)? })
            })
        })
    }

    async fn holder(&self, group: &GroupKey, _how: Consistency) -> Stored<Option<Unit>> {
        self.read(|db| read_holder(db, group))
    }

    async fn hold(&self, group: &GroupKey, before: Option<&Unit>, next: &Unit) -> Stored<bool> {
        let (group, before, next) = (group.clone(), before.cloned(), next.clone());
        self.write(move |db| {
            let now = read_holder(db, &group)?;
            if now.as_ref() == Some(&next) {
                return Ok(true);
            }
            if now != before {
                return Ok(false);
            }
            let text = "INSERT OR REPLACE INTO holders (group_key, unit, run) VALUES (?1, ?2, ?3)";
            execute(db, text, (group.as_str(), next.text(), next.run().as_str()))?;
            Ok(true)
        })
        .await
    }
}
