"""Fixes differences between moto and DynamoDB that a reader of a stream sees.

- A cancelled transaction replaced the table by a copy made before, at the cost of copying all of it, and
  with a new stream: readers of the old stream received no more records.
- An update that changed nothing wrote a stream record.
- An update that created an item wrote two: one with the key alone, and one with the whole item.

All of this runs under the lock in `dynamodb`, so that no reader sees an intermediate state.
"""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import StreamShard, Table

_add = StreamShard.add
_update_item = DynamoDBBackend.update_item
_transact_write_items = DynamoDBBackend.transact_write_items


def apply() -> None:
    """Puts the functions below in the place of moto's."""
    StreamShard.add = _add_if_changed
    DynamoDBBackend.update_item = _update_item_with_one_record
    DynamoDBBackend.transact_write_items = _transact_write_items_in_place


def _add_if_changed(self: StreamShard, old: Item | None, new: Item | None) -> None:
    if old is None or new is None or old.to_json() != new.to_json():
        _add(self, old, new)


def _update_item_with_one_record(
    self: DynamoDBBackend, table_name: str, *args: Any, **kwargs: Any
) -> Item:
    shard = self.get_table(table_name).stream_shard
    if shard is None:
        return _update_item(self, table_name, *args, **kwargs)
    changes: list[tuple[Item | None, Item | None]] = []
    # An attribute of the object hides the function of its class.
    shard.add = lambda old, new: changes.append((old, new))
    try:
        item = _update_item(self, table_name, *args, **kwargs)
    finally:
        del shard.add
    # A new item is first put with its key alone: only the last change is the caller's.
    shard.add(*changes[-1])
    return item


def _transact_write_items_in_place(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    with ExitStack() as undo:
        for action in transact_items:
            (operation,) = action.values()
            table = self.tables.get(operation.get("TableName"))
            key = operation.get("Key") or operation.get("Item", {})
            # A wrong request is moto's to refuse, before it changes anything.
            if table is not None and all(name in key for name in _key_names(table)):
                undo.enter_context(_undone_on_error(table, key))
        _transact_write_items(self, transact_items)


@contextmanager
def _undone_on_error(table: Table, key: dict[str, Any]) -> Iterator[None]:
    """Takes a note of one item and of the stream's end, and puts both back."""
    hash_key, *rest = [DynamoType(key[name]) for name in _key_names(table)]
    range_key = rest[0] if rest else None
    item = copy.deepcopy(table.get_item(hash_key, range_key))
    records = len(table.stream_shard.items) if table.stream_shard else 0
    # moto copies the table and would put the copy in its place: let the copy be the table itself.
    table.__deepcopy__ = lambda memo: table
    try:
        yield
    except Exception:
        _restore(table, hash_key, range_key, item)
        if table.stream_shard:
            del table.stream_shard.items[records:]
        raise
    finally:
        table.__dict__.pop("__deepcopy__", None)


def _key_names(table: Table) -> list[str]:
    return [name for name in (table.hash_key_attr, table.range_key_attr) if name is not None]


def _restore(table: Table, hash_key: DynamoType, range_key: DynamoType | None, item: Item | None) -> None:
    items, key = (table.items, hash_key) if range_key is None else (table.items[hash_key], range_key)
    if item is None:
        items.pop(key, None)
    else:
        items[key] = item
