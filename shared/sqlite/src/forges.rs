//! Items about forges.

use engine::forge::store::{DueKind, ForgeItems, Item};
use engine::ports::Stored;
use protocol::Millis;
use rusqlite::Row;

use crate::rows::{all, delete_expired, execute, failed, from_time, one, to_limit, to_time};
use crate::store::Sqlite;

const COLUMNS: &str = "list, sort, due, version, expires, record";

fn kind_number(kind: DueKind) -> i64 {
    match kind {
        DueKind::Delivery => 0,
        DueKind::Report => 1,
    }
}

fn read(row: &Row<'_>) -> Stored<Item> {
    let time = |column| row.get::<_, Option<i64>>(column).map(|time| time.map(from_time)).map_err(failed);
    Ok(Item {
        list: row.get(0).map_err(failed)?,
        sort: row.get(1).map_err(failed)?,
        due: time(2)?,
        version: row.get::<_, i64>(3).map_err(failed)?.cast_unsigned(),
        expires: time(4)?,
        record: row.get(5).map_err(failed)?,
    })
}

impl ForgeItems for Sqlite {
    async fn put_item(&self, item: Item) -> Stored<bool> {
        self.write(move |db| {
            // Items that expire are written now and then, and each such write removes some old ones.
            if item.expires.is_some() {
                delete_expired(db, "forge_items", "expires", Millis::now())?;
            }
            let kind = kind_number(DueKind::of_list(&item.list));
            let (due, expires) = (item.due.map(to_time), item.expires.map(to_time));
            let version = item.version.cast_signed();
            let key = (&item.list, &item.sort);
            let stored = one(db, "SELECT version FROM forge_items WHERE list = ?1 AND sort = ?2", key, |row| {
                row.get::<_, i64>(0).map_err(failed)
            })?;
            if version != 0 && stored.unwrap_or(0) + 1 != version {
                return Ok(false);
            }
            let text = "INSERT INTO forge_items (list, sort, kind, due, version, expires, record)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (list, sort) DO UPDATE
                SET due = ?4, version = ?5, expires = ?6, record = ?7";
            execute(db, text, (&item.list, &item.sort, kind, due, version, expires, &item.record))?;
            Ok(true)
        })
        .await
    }

    async fn item(&self, list: &str, sort: &str) -> Stored<Option<Item>> {
        let text = format!("SELECT {COLUMNS} FROM forge_items WHERE list = ?1 AND sort = ?2");
        self.read(|db| one(db, &text, (list, sort), read))
    }

    async fn items(
        &self,
        list: &str,
        prefix: &str,
        after: Option<&str>,
        newest_first: bool,
        limit: usize,
    ) -> Stored<Vec<Item>> {
        // No place has a character above this one.
        let end = format!("{prefix}\u{10ffff}");
        let limit = to_limit(limit);
        if newest_first {
            let text = format!(
                "SELECT {COLUMNS} FROM forge_items WHERE list = ?1 AND sort >= ?2 AND sort < ?3 ORDER BY sort DESC LIMIT ?4"
            );
            return self.read(|db| all(db, &text, (list, prefix, after.unwrap_or(&end), limit), read));
        }
        let text = format!(
            "SELECT {COLUMNS} FROM forge_items WHERE list = ?1 AND sort > ?2 AND sort >= ?3 AND sort < ?4 ORDER BY sort LIMIT ?5"
        );
        self.read(|db| all(db, &text, (list, after.unwrap_or(""), prefix, &end, limit), read))
    }

    async fn remove_item(&self, list: &str, sort: &str) -> Stored<bool> {
        let (list, sort) = (list.to_owned(), sort.to_owned());
        let text = "DELETE FROM forge_items WHERE list = ?1 AND sort = ?2";
        self.write(move |db| Ok(execute(db, text, (list, sort))? == 1)).await
    }

    async fn items_due(&self, kind: DueKind, by: Millis, limit: usize) -> Stored<Vec<Item>> {
        let text = format!(
            "SELECT {COLUMNS} FROM forge_items WHERE kind = ?1 AND due IS NOT NULL AND due <= ?2 ORDER BY due LIMIT ?3"
        );
        self.read(|db| all(db, &text, (kind_number(kind), to_time(by), to_limit(limit)), read))
    }

    async fn next_due(&self, kind: DueKind) -> Stored<Option<Millis>> {
        let text = "SELECT due FROM forge_items WHERE kind = ?1 AND due IS NOT NULL ORDER BY due LIMIT 1";
        self.read(|db| one(db, text, [kind_number(kind)], |row| row.get(0).map(from_time).map_err(failed)))
    }
}
