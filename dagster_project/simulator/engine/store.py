"""Where the simulator keeps its objects: one SQLite file, each object as the JSON that is served.

Bodies are built once, when an object changes, so that a list page is a join of stored bytes. Objects in use are kept as
dicts in a write-back cache; `flush` makes everything durable in one transaction, so a restart continues where it was.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

Object = dict[str, Any]

# Attributes that lists filter by. `payout` is no field of a balance transaction, but a filter.
INDEXED = (
    "customer", "subscription", "invoice", "status", "payout", "source", "type", "payment_intent", "charge", "price",
    "product", "active", "currency", "open",
)  # fmt: skip
_CACHE = 40_000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass
class _Row:
    seq: int
    kind: str
    obj: Object
    parent: str | None
    extra: dict[str, str] = field(default_factory=dict)


class Store:
    """Not thread-safe: the server owns one lock. `now` is the simulator's clock in Unix seconds."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript(
            f"""
            pragma journal_mode = wal;
            pragma synchronous = normal;
            create table if not exists object (
                seq integer primary key, kind text not null, id text not null, created integer not null, parent text,
                gone integer not null default 0, tombstone blob, body blob not null,
                {", ".join(f'"{name}" text' for name in INDEXED)});
            create unique index if not exists object_kind_id on object (kind, id);
            create index if not exists object_id on object (id);
            create index if not exists object_listed on object (kind, created, seq) where gone = 0;
            create index if not exists object_parent on object (kind, parent) where parent is not null;
            create index if not exists object_customer on object (kind, customer) where customer is not null;
            create index if not exists object_payout on object (kind, payout) where payout is not null;
            create index if not exists object_invoice on object (kind, invoice) where invoice is not null;
            create index if not exists object_charge on object (kind, charge) where charge is not null;
            create table if not exists meta (name text primary key, value text not null);
            """
        )
        self.meta: dict[str, Any] = {
            name: json.loads(value) for name, value in self._db.execute("select name, value from meta")
        }
        self._cache: dict[tuple[str, str], _Row] = {}
        self._dirty: dict[tuple[str, str], _Row] = {}
        self._kind_of: dict[str, str] = {}
        self._seq = self._db.execute("select coalesce(max(seq), 0) from object").fetchone()[0]

    @property
    def now(self) -> int:
        return int(self.meta.get("now", 0))

    @now.setter
    def now(self, value: int) -> None:
        self.meta["now"] = value

    def insert(self, obj: Object, *, kind: str | None = None, parent: str | None = None, **extra: str) -> Object:
        """Add an object; `extra` are filterable attributes that the object itself does not have."""
        self._seq += 1
        kind = kind or obj["object"]
        self._cache[kind, obj["id"]] = self._dirty[kind, obj["id"]] = _Row(self._seq, kind, obj, parent, extra)
        self._kind_of.setdefault(obj["id"], kind)
        return obj

    def get(self, id: str, kind: str | None = None) -> Object | None:
        """The live dict: change it and call `save`. For a deleted object its tombstone, or None."""
        row = self._row(id, kind)
        return row.obj if row else self._tombstone(id, kind)

    def save(self, obj: Object, *, kind: str | None = None, **extra: str) -> None:
        row = self._row(obj["id"], kind or obj["object"])
        if row is None:
            raise KeyError(obj["id"])
        row.obj = obj
        row.extra.update(extra)
        self._dirty[row.kind, obj["id"]] = row

    def delete(self, id: str, tombstone: Object | None, *, kind: str | None = None) -> None:
        """Take an object out of every list; `get` gives the tombstone from now on."""
        row = self._row(id, kind)
        if row is None:
            raise KeyError(id)
        self._write()
        self._begin()
        self._db.execute(
            "update object set gone = 1, tombstone = ? where kind = ? and id = ?",
            (_encode(tombstone) if tombstone else None, row.kind, id),
        )
        del self._cache[row.kind, id]
        self._kind_of.pop(id, None)

    def page(
        self,
        kind: str,
        *,
        where: Mapping[str, str | Sequence[str]] | None = None,
        created: Mapping[str, int] | None = None,
        parent: str | None = None,
        limit: int = 10,
        starting_after: str | None = None,
        ending_before: str | None = None,
    ) -> tuple[list[bytes], bool]:
        """(bodies newest first, has_more in the direction of travel). Raises KeyError(id) for an unknown cursor."""
        self._write()
        clauses, values = ["kind = ?", "gone = 0"], [kind]  # type: list[str], list[Any]
        if parent is not None:
            clauses.append("parent = ?")
            values.append(parent)
        for name, wanted in (where or {}).items():
            options = [wanted] if isinstance(wanted, str) else list(wanted)
            negative = name.startswith("not ")
            column = name.removeprefix("not ")
            if column not in INDEXED:
                raise ValueError(column)
            marks = ", ".join("?" * len(options))
            clauses.append(
                f'("{column}" is null or "{column}" not in ({marks}))' if negative else f'"{column}" in ({marks})'
            )
            values += options
        for operator, moment in (created or {}).items():
            clauses.append(f"created {_OPERATORS[operator]} ?")
            values.append(moment)
        backwards = ending_before is not None
        cursor = ending_before or starting_after
        if cursor is not None:
            place = self._db.execute(
                "select created, seq from object where kind = ? and id = ? and gone = 0", (kind, cursor)
            ).fetchone()
            if place is None:
                raise KeyError(cursor)
            clauses.append(f"(created, seq) {'>' if backwards else '<'} (?, ?)")
            values += place
        order = "asc" if backwards else "desc"
        rows = self._db.execute(
            f"select body from object where {' and '.join(clauses)} order by created {order}, seq {order} limit ?",
            (*values, limit + 1),
        ).fetchall()
        bodies = [row[0] for row in rows[:limit]]
        return (bodies[::-1] if backwards else bodies), len(rows) > limit

    def count(self, kind: str) -> int:
        self._write()
        return int(self._db.execute("select count(*) from object where kind = ? and gone = 0", (kind,)).fetchone()[0])

    def counts(self) -> dict[str, int]:
        self._write()
        return dict(self._db.execute("select kind, count(*) from object where gone = 0 group by kind order by kind"))

    def all(self, kind: str) -> list[Object]:
        """Every object of a kind, oldest first."""
        self._write()
        rows = self._db.execute("select body from object where kind = ? and gone = 0 order by seq", (kind,))
        return [_decode(row[0]) for row in rows]

    def prune(self, kind: str, before: int) -> None:
        """Forget the objects of a kind that were created before an instant."""
        self._write()
        self._begin()
        self._db.execute("delete from object where kind = ? and created < ?", (kind, before))
        for key in [key for key, row in self._cache.items() if row.kind == kind]:
            del self._cache[key]

    def flush(self) -> None:
        """Make everything durable, at once: objects and what belongs to them in `meta` are never apart on disk."""
        self._write()
        self._begin()
        rows = [(name, json.dumps(value)) for name, value in self.meta.items()]
        self._db.executemany("insert or replace into meta values (?, ?)", rows)
        self._db.execute("commit")
        if len(self._cache) > _CACHE:
            self._cache.clear()
            self._kind_of.clear()

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("begin")

    def _write(self) -> None:
        if not self._dirty:
            return
        columns = ("seq", "kind", "id", "created", "parent", "body", *_quoted)
        updated = ", ".join(f"{name} = excluded.{name}" for name in columns[3:])
        self._begin()
        self._db.executemany(
            f"insert into object ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"
            f" on conflict (kind, id) do update set {updated}, gone = 0",
            map(_values, self._dirty.values()),
        )
        self._dirty.clear()

    def close(self) -> None:
        self.flush()
        self._db.close()

    def _row(self, id: str, kind: str | None) -> _Row | None:
        kind = kind or self._kind_of.get(id)
        if kind and (kind, id) in self._cache:
            return self._cache[kind, id]
        found = self._db.execute(
            f"select seq, kind, body, parent, {', '.join(_quoted)} from object where id = ? and gone = 0"
            + (" and kind = ?" if kind else " order by seq limit 1"),
            (id, kind) if kind else (id,),
        ).fetchone()
        if found is None:
            return None
        seq, kind, body, parent, *indexed = found
        obj = _decode(body)
        extra = {
            name: value for name, value in zip(INDEXED, indexed, strict=True) if value is not None and name not in obj
        }
        row = _Row(seq, kind, obj, parent, extra)
        self._cache[kind, id] = row
        self._kind_of.setdefault(id, kind)
        return row

    def _tombstone(self, id: str, kind: str | None) -> Object | None:
        found = self._db.execute(
            "select tombstone from object where id = ? and gone = 1" + (" and kind = ?" if kind else ""),
            (id, kind) if kind else (id,),
        ).fetchone()
        return _decode(found[0]) if found and found[0] else None


_OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "="}
_quoted = [f'"{name}"' for name in INDEXED]


def _values(row: _Row) -> tuple[Any, ...]:
    obj, extra = row.obj, row.extra
    created = obj.get("created", obj.get("date", 0))
    return (
        row.seq, row.kind, obj["id"], created, row.parent, _encode(obj),
        *(extra.get(name) or _text(obj.get(name)) for name in INDEXED),
    )  # fmt: skip


def _text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    if isinstance(value, list):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value.get("id")) if isinstance(value, dict) else str(value)
