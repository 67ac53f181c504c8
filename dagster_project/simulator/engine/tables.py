"""The tables of the file: one of objects per account, and what belongs to no object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

Object = dict[str, Any]

# Attributes that lists filter by. `payout` is no field of a balance transaction, but a filter.
INDEXED = (
    "customer", "subscription", "invoice", "status", "payout", "source", "type", "payment_intent", "charge", "price",
    "product", "active", "currency", "open",
)  # fmt: skip
COLUMNS = ("seq", "kind", "id", "created", "parent", "body", *INDEXED)
OWNERS = ("customer", "payout", "invoice", "charge")  # those of them with an index
FORMAT = 3  # of the file; one of another format is made anew
_SPARSE = ("parent", "payout", "invoice", "charge")  # in few of very many objects
_encode = msgspec.json.Encoder().encode

# Text `account` is the id of a connected account, "" for the file's own.
SHARED = f"""
    pragma journal_mode = wal;
    pragma synchronous = normal;
    pragma user_version = {FORMAT};
    create table if not exists meta (
        account text not null, name text not null, value blob not null, primary key (account, name));
    create table if not exists replay (
        account text not null, key text not null, fingerprint text not null, status integer not null,
        body blob not null, request text not null, kept_at integer not null, primary key (account, key));
    create table if not exists usage (
        account text not null, meter text not null, customer text not null, at integer not null,
        value text not null, primary key (account, meter, customer, at)) without rowid;
    create table if not exists delivery (
        id integer primary key, endpoint text not null, event text not null, type text not null,
        account text not null, body blob not null, state text not null default 'waiting',
        due real, tries text not null default '[]');
    create index if not exists delivery_due on delivery (due) where state = 'waiting';
"""


@dataclass
class Row:
    """An object with its place among all; `extra` are filterable attributes that it does not have itself."""

    seq: int
    kind: str
    obj: Object
    parent: str | None
    extra: dict[str, str] = field(default_factory=dict)


class Table:
    """The names of one account's table of objects, and what makes it."""

    def __init__(self, account: str) -> None:
        self._suffix = f" {account}" if account else ""
        self.name = f'"object {account}"' if account else "object"
        # By itself SQLite counts along an index that does not know what is gone: a million rows are read for it.
        self.listed = f'{self.name} indexed by "object_listed{self._suffix}"'

    def create(self) -> str:
        columns = ", ".join(f'"{name}" text' for name in INDEXED)
        return f"""create table if not exists {self.name} (
            seq integer primary key, kind text not null, id text not null, created integer not null, parent text,
            gone integer not null default 0, tombstone blob, body blob not null, {columns})"""

    def indexes(self, *, of_every_row: bool = False) -> dict[str, str]:
        """Name -> the statement that makes it; `of_every_row` only those that each object is in."""
        made = {
            "kind_id": ("unique ", "(kind, id)"),
            "id": ("", "(id)"),
            "listed": ("", "(kind, created, seq) where gone = 0"),
            "parent": ("", "(kind, parent) where parent is not null"),
            **{name: ("", f"(kind, {name}) where {name} is not null") for name in OWNERS},
        }
        return {
            f'"object_{name}{self._suffix}"': f"create {unique}index if not exists "
            f'"object_{name}{self._suffix}" on {self.name} {what}'
            for name, (unique, what) in made.items()
            if not (of_every_row and name in _SPARSE)
        }

    def insert(self) -> str:
        return f"insert into {self.name} ({', '.join(quoted_columns)}) values ({', '.join('?' * len(COLUMNS))})"

    def upsert(self) -> str:
        updated = ", ".join(f"{name} = excluded.{name}" for name in quoted_columns[3:])
        return f"{self.insert()} on conflict (kind, id) do update set {updated}, gone = 0"


_PLACES = {name: place for place, name in enumerate(INDEXED)}
quoted_columns = [f'"{name}"' for name in COLUMNS]


def values(row: Row) -> tuple[Any, ...]:
    """An object as the values of COLUMNS."""
    obj, get = row.obj, row.obj.get
    indexed = [value if (value := get(name)) is None or type(value) is str else _text(value) for name in INDEXED]
    for name, value in row.extra.items():
        indexed[_PLACES[name]] = value or indexed[_PLACES[name]]
    created = get("created", get("date", 0))
    return (row.seq, row.kind, obj["id"], created, row.parent, _encode(obj), *indexed)


def _text(value: Any) -> str | None:
    """What is compared when a list is filtered by a value that is neither text nor null."""
    if isinstance(value, list):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value.get("id")) if isinstance(value, dict) else str(value)
