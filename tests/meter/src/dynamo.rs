//! What one call of `DynamoDB` costs: reads from its answer, writes from the items before and after it.

use std::collections::HashMap;

use cost::Usage;
use serde_json::{Map, Value};

use crate::capacity::{self, Entry, Reading};
use crate::{item, names};

/// An item in `DynamoDB`'s JSON form.
pub(crate) type Item = Map<String, Value>;

/// A table, a partition key and a sort key.
pub(crate) type Key = (String, String, String);

/// What counts of an item: its size in bytes, 0 if it is missing, and its entry in the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    size: usize,
    entry: Option<Entry>,
}

impl Image {
    /// Of an item that was read or written; `None` or an item without attributes if it is missing.
    pub(crate) fn of(item: Option<&Item>) -> Self {
        let Some(item) = item.filter(|item| !item.is_empty()) else { return Self::default() };
        Self { size: item::size(item), entry: entry(item) }
    }
}

/// The entry of an item in the index, which has the keys only.
fn entry(item: &Item) -> Option<Entry> {
    let key = (text(item, "index_pk")?, text(item, "index_sk")?);
    let keys = item.iter().filter(|(name, _)| matches!(name.as_str(), "pk" | "sk" | "index_pk" | "index_sk"));
    let keys: Item = keys.map(|(name, value)| (name.clone(), value.clone())).collect();
    Some(Entry { key, size: item::size(&keys) })
}

fn text(item: &Item, name: &str) -> Option<String> {
    item.get(name)?["S"].as_str().map(str::to_owned)
}

/// The partition keys that a call touches, as far as they are known before it is made: those of the table, and those of the index that its
/// items have before it, or that its values name. A key of the index begins with `index `. `of_index`: the keys of the index that are in use.
pub(crate) fn touched(action: &str, input: &Value, before: &[(&Written, &Image)], of_index: &[String]) -> Vec<String> {
    let mut keys: Vec<String> = before.iter().map(|(written, _)| written.key.1.clone()).collect();
    let entries = before.iter().filter_map(|(_, image)| image.entry.as_ref());
    keys.extend(entries.map(|entry| format!("index {}", entry.key.0)));
    keys.extend(read_charges(action, input, &Value::Null).into_iter().map(|charge| charge.key));
    let text = input.to_string();
    let named = of_index.iter().filter(|key| text.contains(&format!("{:?}", key.as_str())));
    keys.extend(named.map(|key| format!("index {key}")));
    keys
}

/// What a call costs at one partition key, of the table or of its index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Charge {
    /// The kind of item.
    pub item: &'static str,
    /// The partition key. One of the index begins with `index `.
    pub key: String,
    /// The units.
    pub usage: Usage,
}

/// A write of one item.
#[derive(Debug)]
pub(crate) struct Written {
    pub key: Key,
    pub becomes: Becomes,
    in_transaction: bool,
}

/// The item after a write that isn't refused.
#[derive(Debug)]
pub(crate) enum Becomes {
    /// This item.
    Item(Item),
    /// Nothing.
    Missing,
    /// Whatever the update expression gives.
    Updated,
}

/// The writes that a call asks for.
pub(crate) fn writes(action: &str, input: &Value) -> Vec<Written> {
    let one = |table: &Value, key: &Value, becomes: Becomes, in_transaction: bool| {
        let key = key.as_object()?;
        let key = (table.as_str()?.to_owned(), text(key, "pk")?, text(key, "sk")?);
        Some(Written { key, becomes, in_transaction })
    };
    let put = |table: &Value, item: &Value, in_transaction| {
        one(table, item, Becomes::Item(item.as_object()?.clone()), in_transaction)
    };
    match action {
        "PutItem" => put(&input["TableName"], &input["Item"], false).into_iter().collect(),
        "UpdateItem" => one(&input["TableName"], &input["Key"], Becomes::Updated, false).into_iter().collect(),
        "DeleteItem" => one(&input["TableName"], &input["Key"], Becomes::Missing, false).into_iter().collect(),
        "BatchWriteItem" => {
            let tables = input["RequestItems"].as_object().into_iter().flatten();
            let requests = tables.flat_map(|(table, list)| {
                list.as_array().into_iter().flatten().map(|request| (Value::from(table.clone()), request))
            });
            let written = requests.filter_map(|(table, request)| match request["PutRequest"]["Item"] {
                Value::Null => one(&table, &request["DeleteRequest"]["Key"], Becomes::Missing, false),
                ref item => put(&table, item, false),
            });
            written.collect()
        }
        "TransactWriteItems" => {
            let parts = input["TransactItems"].as_array().into_iter().flatten();
            let parts = parts.filter_map(|part| part.as_object()?.iter().next());
            let written = parts.filter_map(|(kind, part)| match kind.as_str() {
                "Put" => put(&part["TableName"], &part["Item"], true),
                "Delete" => one(&part["TableName"], &part["Key"], Becomes::Missing, true),
                // A condition check costs what a write costs.
                _ => one(&part["TableName"], &part["Key"], Becomes::Updated, true),
            });
            written.collect()
        }
        _ => Vec::new(),
    }
}

/// The units of a write, for the item and for the index. A refused write has the same image before and after.
pub(crate) fn write_charges(written: &Written, before: &Image, after: &Image) -> Vec<Charge> {
    let (_, pk, sk) = &written.key;
    let units = |write_units| Usage { write_units, ..Usage::default() };
    let usage = units(capacity::write(before.size, after.size, written.in_transaction));
    let mut charges = vec![Charge { item: names::item(pk, Some(sk)), key: pk.clone(), usage }];
    let index = capacity::write_index(before.entry.as_ref(), after.entry.as_ref(), written.in_transaction);
    if let Some(entry) = after.entry.as_ref().or(before.entry.as_ref()) {
        charges.push(Charge::of_index(&entry.key.0, units(index)));
    }
    charges
}

impl Charge {
    fn of_index(pk: &str, usage: Usage) -> Self {
        Self { item: names::index(pk), key: format!("index {pk}"), usage }
    }

    fn of_key(key: &Value, usage: Usage) -> Self {
        let pk = key["pk"]["S"].as_str().unwrap_or_default();
        Self { item: names::item(pk, key["sk"]["S"].as_str()), key: pk.to_owned(), usage }
    }
}

/// The units of a call that reads, from its answer. A query that counts must be asked again for its items first.
pub(crate) fn read_charges(action: &str, input: &Value, answer: &Value) -> Vec<Charge> {
    let units = |read_units| Usage { read_units, ..Usage::default() };
    let reading = |wanted: &Value| {
        if wanted["ConsistentRead"] == true { Reading::Strong } else { Reading::Eventual }
    };
    let size = |item: &Value| item.as_object().map_or(0, item::size);
    match action {
        "GetItem" => {
            let usage = units(capacity::read_each([size(&answer["Item"])], reading(input)));
            vec![Charge::of_key(&input["Key"], usage)]
        }
        "BatchGetItem" => {
            let tables = input["RequestItems"].as_object().into_iter().flatten();
            let charges = tables.flat_map(|(table, wanted)| {
                let mut found: HashMap<String, usize> = HashMap::new();
                for item in answer["Responses"][table].as_array().into_iter().flatten() {
                    found.insert(key_text(item), size(item));
                }
                let keys = wanted["Keys"].as_array().into_iter().flatten();
                let reading = reading(wanted);
                keys.map(move |key| {
                    let size = found.get(&key_text(key)).copied().unwrap_or(0);
                    Charge::of_key(key, units(capacity::read_each([size], reading)))
                })
            });
            charges.collect()
        }
        "TransactGetItems" => {
            let wanted = input["TransactItems"].as_array().into_iter().flatten();
            let answers = answer["Responses"].as_array().into_iter().flatten();
            let each = wanted.zip(answers).map(|(wanted, answer)| {
                let read = capacity::read_each([size(&answer["Item"])], Reading::Transaction);
                Charge::of_key(&wanted["Get"]["Key"], units(read))
            });
            each.collect()
        }
        "Query" => {
            let value = |name: &str| input["ExpressionAttributeValues"][name]["S"].as_str();
            let pk = value(":pk").unwrap_or_default();
            let sizes = answer["Items"].as_array().into_iter().flatten().map(size);
            let usage = units(capacity::read_page(sizes, reading(input)));
            vec![match input["IndexName"] {
                Value::Null => {
                    let item = names::item(pk, value(":from").or(value(":to")));
                    Charge { item, key: pk.to_owned(), usage }
                }
                _ => Charge::of_index(pk, usage),
            }]
        }
        _ => Vec::new(),
    }
}

fn key_text(item: &Value) -> String {
    format!("{} {}", item["pk"]["S"], item["sk"]["S"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sum(charges: &[Charge]) -> Usage {
        charges.iter().map(|charge| charge.usage).sum()
    }

    #[test]
    fn a_batch_counts_every_item_and_every_missing_one() {
        let key = |sk: &str| json!({ "pk": { "S": "R#a#0" }, "sk": { "S": sk } });
        let input =
            json!({ "RequestItems": { "t": { "Keys": [key("JOB#1"), key("JOB#2")], "ConsistentRead": true } } });
        let large = json!({ "pk": { "S": "R#a#0" }, "sk": { "S": "JOB#2" }, "x": { "S": "x".repeat(5000) } });
        let charges = read_charges("BatchGetItem", &input, &json!({ "Responses": { "t": [large] } }));
        assert_eq!(sum(&charges), Usage { read_units: 1.0 + 2.0, ..Usage::default() });
    }

    #[test]
    fn a_query_of_the_index_is_eventual_and_named_after_its_partition() {
        let input = json!({ "IndexName": "index", "ExpressionAttributeValues": { ":pk": { "S": "READY#p#0" } } });
        let charges = read_charges("Query", &input, &json!({ "Items": [] }));
        assert_eq!((charges[0].item, charges[0].key.as_str()), ("index ready", "index READY#p#0"));
        assert_eq!(sum(&charges), Usage { read_units: 0.5, ..Usage::default() });
    }

    #[test]
    fn a_transaction_pays_twice_for_items_and_index_entries() {
        let item = json!({ "pk": { "S": "R#a" }, "sk": { "S": "CTL" }, "index_pk": { "S": "OPEN" }, "index_sk": { "S": "1" } });
        let input = json!({ "TransactItems": [{ "Put": { "TableName": "t", "Item": item } }] });
        let [written] = &writes("TransactWriteItems", &input)[..] else { panic!("one write") };
        let charges = write_charges(written, &Image::default(), &Image::of(item.as_object()));
        assert_eq!(sum(&charges), Usage { write_units: 2.0 + 2.0, ..Usage::default() });
    }

    #[test]
    fn call_touches_keys_of_its_items_and_of_the_entries_that_they_have_or_get() {
        let item = json!({ "pk": { "S": "R#a#0" }, "sk": { "S": "JOB#1" }, "index_pk": { "S": "READY#p#0" }, "index_sk": { "S": "1" } });
        let image = Image::of(item.as_object());
        let input = json!({
            "TableName": "t", "Key": { "pk": { "S": "R#a#0" }, "sk": { "S": "JOB#1" } },
            "ExpressionAttributeValues": { ":x": { "S": "READY#q#0" } }
        });
        let writes = writes("UpdateItem", &input);
        let of_index = ["READY#q#0", "READY#z#0"].map(str::to_owned);
        let keys = touched("UpdateItem", &input, &[(&writes[0], &image)], &of_index);
        assert_eq!(keys, ["R#a#0", "index READY#p#0", "index READY#q#0"]);
        let query = json!({ "IndexName": "index", "ExpressionAttributeValues": { ":pk": { "S": "READY#p#0" } } });
        assert_eq!(touched("Query", &query, &[], &[]), ["index READY#p#0"]);
    }

    #[test]
    fn deletes_and_puts_of_a_batch_are_both_writes() {
        let put = json!({ "PutRequest": { "Item": { "pk": { "S": "a" }, "sk": { "S": "b" } } } });
        let delete = json!({ "DeleteRequest": { "Key": { "pk": { "S": "c" }, "sk": { "S": "d" } } } });
        let found = writes("BatchWriteItem", &json!({ "RequestItems": { "t": [put, delete] } }));
        assert!(matches!(
            &found[..],
            [Written { becomes: Becomes::Item(_), .. }, Written { becomes: Becomes::Missing, .. }]
        ));
    }
}
