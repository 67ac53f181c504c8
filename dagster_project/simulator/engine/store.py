"""Where the simulator keeps its objects: one SQLite file, each object as the JSON that is served.

Bodies are built once, when an object changes, so that a list page is a join of stored bytes. Objects in use are kept as
dicts in a write-back cache; `flush` makes everything durable in one transaction, so a restart continues where it was.
Connected accounts have tables of their own in the same file: `within`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
COLUMNS = ("seq", "kind", "id", "created", "parent", "body", *INDEXED)
_OWNERS = ("customer", "payout", "invoice", "charge")  # those of them with an index
_SPARSE = ("parent", "payout", "invoice", "charge")  # in few of very many objects
FORMAT = 2  # of the file; one of another format is made anew
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

    def __init__(self, path: Path, *, root: Store | None = None, account: str = "") -> None:
        self.path = path
        self.root = root or self
        self._account = account
        self._table = f'"object {account}"' if account else "object"
        # By itself SQLite counts along an index that does not know what is gone: a million rows are read for it.
        self._listed = f'{self._table} indexed by "object_listed{" " if account else ""}{account}"'
        self._children: dict[str, Store] = {}
        if root is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.executescript(
                f"""
                pragma journal_mode = wal;
                pragma synchronous = normal;
                pragma user_version = {FORMAT};
                create table if not exists meta (
                    account text not null, name text not null, value blob not null, primary key (account, name));
                create table if not exists replay (
                    account text not null, key text not null, fingerprint text not null, status integer not null,
                    body blob not null, request text not null, kept_at integer not null, primary key (account, key));
                create table if not exists usage (
                    account text not null, meter text not null, customer text not null, hour integer not null,
                    value text not null, primary key (account, meter, customer, hour)) without rowid;
                create table if not exists delivery (
                    id integer primary key, endpoint text not null, event text not null, type text not null,
                    account text not null, body blob not null, state text not null default 'waiting',
                    due real, tries text not null default '[]');
                create index if not exists delivery_due on delivery (due) where state = 'waiting';
                """
            )
        else:
            self._db = root._db
            self._begin()
        for statement in self._schema():
            self._db.execute(statement)
        self.meta: dict[str, Any] = {}
        self._written: dict[str, bytes] = {}
        self._cache: dict[tuple[str, str], _Row] = {}
        self._dirty: dict[tuple[str, str], _Row] = {}
        self._kind_of: dict[str, str] = {}
        self._born: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self._seq = 0
        self._load()

    def _schema(self) -> list[str]:
        """The table of this account's objects and its indexes."""
        suffix = f" {self._account}" if self._account else ""
        columns = ", ".join(f'"{name}" text' for name in INDEXED)
        indexes = {
            "listed": "(kind, created, seq) where gone = 0",
            "parent": "(kind, parent) where parent is not null",
            **{name: f"(kind, {name}) where {name} is not null" for name in _OWNERS},
        }
        return [
            f"""create table if not exists {self._table} (
                seq integer primary key, kind text not null, id text not null, created integer not null, parent text,
                gone integer not null default 0, tombstone blob, body blob not null, {columns})""",
            f'create unique index if not exists "object_kind_id{suffix}" on {self._table} (kind, id)',
            f'create index if not exists "object_id{suffix}" on {self._table} (id)',
            *(
                f'create index if not exists "object_{name}{suffix}" on {self._table} {what}'
                for name, what in indexes.items()
            ),
        ]

    def _load(self) -> None:
        rows = self._db.execute("select name, value from meta where account = ?", (self._account,))
        self._written = {name: bytes(value) for name, value in rows}
        self.meta.clear()
        self.meta.update({name: _decode(value) for name, value in self._written.items()})
        self._seq = self._db.execute(f"select coalesce(max(seq), 0) from {self._table}").fetchone()[0]

    def within(self, account: str) -> Store:
        """The objects of a connected account, which are other objects even when their ids are the same."""
        if account not in self._children:
            self._children[account] = Store(self.path, root=self, account=account)
        return self._children[account]

    @property
    def now(self) -> int:
        return int(self.root.meta.get("now", 0))

    @now.setter
    def now(self, value: int) -> None:
        self.root.meta["now"] = value

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

    def known(self, id: str, kind: str) -> Object | None:
        """An object as it is, or as it was when it was deleted; not to be changed."""
        row = self._row(id, kind)
        if row is not None:
            return row.obj
        found = self._db.execute(
            f"select body from {self._table} where kind = ? and id = ? and gone = 1", (kind, id)
        ).fetchone()
        return _decode(found[0]) if found else None

    def save(self, obj: Object, *, kind: str | None = None, **extra: str) -> None:
        row = self._row(obj["id"], kind or obj["object"])
        if row is None:
            raise KeyError(obj["id"])
        row.obj = obj
        row.extra.update(extra)
        self._dirty[row.kind, obj["id"]] = row

    @contextlib.contextmanager
    def hurried(self) -> Iterator[None]:
        """Inside, writing does not wait for the disk: for a new file, which nobody has until it is whole."""
        self._db.executescript("pragma synchronous = off; pragma cache_size = -100000")
        yield
        self._db.executescript("pragma synchronous = normal; pragma cache_size = -2000")

    def fill(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write very many objects into a new file, each a tuple of `COLUMNS` without the first.

        Indexes of every row are made afterwards, which is several times quicker. A crash leaves the file unusable.
        """
        self.flush()
        made = [each for each in self._schema()[1:] if not any(f'"object_{name}' in each for name in _SPARSE)]
        for statement in made:
            self._db.execute(f"drop index {statement.split(' if not exists ')[1].split(' on ')[0]}")
        self._db.execute("pragma journal_mode = off")
        self._db.execute("begin")
        numbered = ((number, *row) for number, row in enumerate(rows, self._seq + 1))
        self._db.executemany(
            f"insert into {self._table} ({', '.join(_columns)}) values ({', '.join('?' * len(_columns))})", numbered
        )
        self._db.execute("commit")
        for statement in made:
            self._db.execute(statement)
        self._db.execute("pragma journal_mode = wal")
        self._seq = self._db.execute(f"select coalesce(max(seq), 0) from {self._table}").fetchone()[0]

    def delete(self, id: str, tombstone: Object | None, *, kind: str | None = None) -> None:
        """Take an object out of every list; `get` gives the tombstone from now on."""
        row = self._row(id, kind)
        if row is None:
            raise KeyError(id)
        self._write()
        self._begin()
        self._db.execute(
            f"update {self._table} set gone = 1, tombstone = ? where kind = ? and id = ?",
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
        hidden: Collection[str] = (),
    ) -> tuple[list[bytes], bool]:
        """(bodies newest first, has_more in the direction of travel), without the ids that are `hidden`.

        Raises KeyError(id) for an unknown cursor.
        """
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
        if hidden:
            clauses.append("id not in (select value from json_each(?))")  # any number of them as one value
            values.append(_encode(sorted(hidden)))
        backwards = ending_before is not None
        cursor = ending_before or starting_after
        if cursor is not None:
            place = self._db.execute(
                f"select created, seq from {self._table} where kind = ? and id = ? and gone = 0", (kind, cursor)
            ).fetchone()
            if place is None:
                raise KeyError(cursor)
            clauses.append(f"(created, seq) {'>' if backwards else '<'} (?, ?)")
            values += place
        order = "asc" if backwards else "desc"
        # The few rows of one owner are found by their index and sorted; else SQLite walks through all in their order.
        by = "+created" if parent is not None or any(name in _OWNERS for name in where or ()) else "created"
        rows = self._db.execute(
            f"select body from {self._table} where {' and '.join(clauses)} order by {by} {order}, seq {order} limit ?",
            (*values, limit + 1),
        ).fetchall()
        bodies = [row[0] for row in rows[:limit]]
        return (bodies[::-1] if backwards else bodies), len(rows) > limit

    @property
    def last(self) -> int:
        """The place of the newest object: see `since`."""
        return self._seq

    def since(self, place: int) -> list[tuple[str, str]]:
        """(kind, id) of the objects that were inserted after a place, oldest first."""
        self._write()
        return self._db.execute(
            f"select kind, id from {self._table} where seq > ? and gone = 0 order by seq", (place,)
        ).fetchall()

    def reorder(self, kind: str, ids: Sequence[str]) -> None:
        """Let objects of the same age stand in lists in this order, the oldest first."""
        self._write()
        self._begin()
        rows = [row for row in (self._row(id, kind) for id in ids) if row is not None]
        for row, place in zip(rows, sorted(row.seq for row in rows), strict=True):
            row.seq = place
            # Negative for a moment, because two rows never have the same place.
            self._db.execute(
                f"update {self._table} set seq = ? where kind = ? and id = ?", (-place, kind, row.obj["id"])
            )
        self._db.execute(f"update {self._table} set seq = -seq where seq < 0")

    def count(self, kind: str) -> int:
        self._write()
        return int(
            self._db.execute(f"select count(*) from {self._listed} where kind = ? and gone = 0", (kind,)).fetchone()[0]
        )

    def counts(self) -> dict[str, int]:
        self._write()
        return dict(
            self._db.execute(f"select kind, count(*) from {self._listed} where gone = 0 group by kind order by kind")
        )

    def born_with(self, kind: str, attribute: str) -> list[str]:
        """The ids of a kind's objects that have a value in an attribute which never changes."""
        self._write()
        seen, ids = self._born.get((kind, attribute), (0, []))
        if seen > self._seq:  # what was seen may have been taken back
            seen, ids = 0, []
        if seen < self._seq:
            rows = self._db.execute(
                f"select id from {self._table} where seq > ? and kind = ? and json_extract(body, ?) is not null",
                (seen, kind, f"$.{attribute}"),
            )
            self._born[kind, attribute] = (self._seq, ids := [*ids, *(row[0] for row in rows)])
        return ids

    def all(self, kind: str) -> list[Object]:
        """Every object of a kind, oldest first."""
        self._write()
        rows = self._db.execute(f"select body from {self._table} where kind = ? and gone = 0 order by seq", (kind,))
        return [_decode(row[0]) for row in rows]

    def prune(self, kind: str, before: int) -> None:
        """Forget the objects of a kind that were created before an instant."""
        self._write()
        self._begin()
        self._db.execute(f"delete from {self._table} where kind = ? and created < ?", (kind, before))
        for key in [key for key, row in self._cache.items() if row.kind == kind]:
            del self._cache[key]

    def flush(self) -> None:
        """Make everything durable, at once: objects and what belongs to them in `meta` are never apart on disk."""
        root = self.root
        stores = [root, *root._children.values()]
        self._begin()
        for store in stores:
            store._write()
            for name, value in store.meta.items():
                if (encoded := _encode(value)) != store._written.get(name):
                    store._written[name] = encoded
                    self._db.execute("insert or replace into meta values (?, ?, ?)", (store._account, name, encoded))
        self._db.execute("commit")
        for store in stores:
            if len(store._cache) > _CACHE:
                store._cache.clear()
                store._kind_of.clear()

    @contextlib.contextmanager
    def atomic(self, *, keep: bool = True) -> Iterator[None]:
        """All or nothing: an exception inside takes back all objects and all of `meta`; without `keep` so does the end.

        Whoever holds a dict of an object or a part of `meta` from before must fetch it again after that.
        """
        self.flush()
        try:
            yield
        except BaseException:
            self._undo()
            raise
        if not keep:
            self._undo()

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("rollback")
        for store in (self.root, *self.root._children.values()):
            for known in (store._cache, store._dirty, store._kind_of):
                known.clear()
            with contextlib.suppress(sqlite3.OperationalError):  # the table of an account that was taken back
                store._load()
        for account in set(self.root._children) - set(self.root.meta.get("accounts", ())):
            del self.root._children[account]

    # ---- usage that meters were told of ----------------------------------------------------------------------
    def add_usage(self, meter: str, customer: str, hour: int, value: str) -> None:
        """Set the aggregated value of one hour (its start in Unix seconds) of a customer; decimal text."""
        self._begin()
        row = (self._account, meter, customer, hour, value)
        self._db.execute("insert or replace into usage values (?, ?, ?, ?, ?)", row)

    def usage(self, meter: str, customer: str, start: int, end: int) -> list[tuple[int, str]]:
        """(hour, value) with start <= hour < end, oldest first."""
        return self._db.execute(
            "select hour, value from usage where account = ? and meter = ? and customer = ? and hour >= ? and hour < ?"
            " order by hour",
            (self._account, meter, customer, start, end),
        ).fetchall()

    # ---- answers that are given again ------------------------------------------------------------------------
    def replay(self, key: str) -> tuple[str, int, bytes, str] | None:
        """(fingerprint, status, body, request id) of the first answer to an idempotency key."""
        found = self._db.execute(
            "select fingerprint, status, body, request from replay where account = ? and key = ?", (self._account, key)
        ).fetchone()
        return found and (found[0], found[1], bytes(found[2]), found[3])

    def keep_replay(self, key: str, fingerprint: str, status: int, body: bytes, request: str, at: int) -> None:
        self._begin()
        row = (self._account, key, fingerprint, status, body, request, at)
        self._db.execute("insert or replace into replay values (?, ?, ?, ?, ?, ?, ?)", row)

    def forget_replays(self, before: int) -> None:
        self._begin()
        self._db.execute("delete from replay where kept_at < ?", (before,))

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """A statement on a table that holds no objects, in the transaction that the next `flush` ends."""
        self._begin()
        return self._db.execute(statement, values)

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("begin")

    def _write(self) -> None:
        if not self._dirty:
            return
        updated = ", ".join(f"{name} = excluded.{name}" for name in _columns[3:])
        self._begin()
        self._db.executemany(
            f"insert into {self._table} ({', '.join(_columns)}) values ({', '.join('?' * len(_columns))})"
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
            f"select seq, kind, body, parent, {', '.join(_quoted)} from {self._table} where id = ? and gone = 0"
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
            f"select tombstone from {self._table} where id = ? and gone = 1" + (" and kind = ?" if kind else ""),
            (id, kind) if kind else (id,),
        ).fetchone()
        return _decode(found[0]) if found and found[0] else None


_OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "="}
_PLACES = {name: place for place, name in enumerate(INDEXED)}
_quoted = [f'"{name}"' for name in INDEXED]
_columns = [f'"{name}"' for name in COLUMNS]


def _values(row: _Row) -> tuple[Any, ...]:
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
