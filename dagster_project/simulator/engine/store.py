"""Where the simulator keeps its objects: one SQLite file, each object as the JSON that is served.

Bodies are built once, when an object changes, so that a list page is a join of stored bytes. Objects in use are kept as
dicts in a write-back cache; `flush` makes everything durable in one transaction, so a restart continues where it was.
Connected accounts have tables of their own in the same file: `within`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dagster_project.simulator.engine.tables import INDEXED, OWNERS, SHARED, Row, Table, values

Object = dict[str, Any]

_CACHE = 40_000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Store:
    """Not thread-safe: the server owns one lock. `now` is the simulator's clock in Unix seconds."""

    def __init__(self, path: Path, *, root: Store | None = None, account: str = "") -> None:
        self.path = path
        self.root = root or self
        self.account = account
        self._table = Table(account)
        self._children: dict[str, Store] = {}
        if root is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.executescript(SHARED)
        else:
            self._db = root._db
            self._begin()
        for statement in (self._table.create(), *self._table.indexes().values()):
            self._db.execute(statement)
        self.meta: dict[str, Any] = {}
        self._written: dict[str, bytes] = {}
        self._cache: dict[tuple[str, str], Row] = {}
        self._dirty: dict[tuple[str, str], Row] = {}
        self._kind_of: dict[str, str] = {}
        self._born: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self._seq = 0
        self._load()

    def _load(self) -> None:
        rows = self._db.execute("select name, value from meta where account = ?", (self.account,))
        self._written = {name: bytes(value) for name, value in rows}
        self.meta.clear()
        self.meta.update({name: _decode(value) for name, value in self._written.items()})
        self._seq = self._db.execute(f"select coalesce(max(seq), 0) from {self._table.name}").fetchone()[0]

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
        self._cache[kind, obj["id"]] = self._dirty[kind, obj["id"]] = Row(self._seq, kind, obj, parent, extra)
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
            f"select body from {self._table.name} where kind = ? and id = ? and gone = 1", (kind, id)
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
        made = self._table.indexes(of_every_row=True)
        for name in made:
            self._db.execute(f"drop index {name}")
        self._db.execute("pragma journal_mode = off")
        self._db.execute("begin")
        numbered = ((number, *row) for number, row in enumerate(rows, self._seq + 1))
        self._db.executemany(self._table.insert(), numbered)
        self._db.execute("commit")
        for statement in made.values():
            self._db.execute(statement)
        self._db.execute("pragma journal_mode = wal")
        self._seq = self._db.execute(f"select coalesce(max(seq), 0) from {self._table.name}").fetchone()[0]

    def delete(self, id: str, tombstone: Object | None, *, kind: str | None = None) -> None:
        """Take an object out of every list; `get` gives the tombstone from now on."""
        row = self._row(id, kind)
        if row is None:
            raise KeyError(id)
        self._write()
        self._begin()
        self._db.execute(
            f"update {self._table.name} set gone = 1, tombstone = ? where kind = ? and id = ?",
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
        clauses, bound = ["kind = ?", "gone = 0"], [kind]  # type: list[str], list[Any]
        if parent is not None:
            clauses.append("parent = ?")
            bound.append(parent)
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
            bound += options
        for operator, moment in (created or {}).items():
            clauses.append(f"created {_OPERATORS[operator]} ?")
            bound.append(moment)
        if hidden:
            clauses.append("id not in (select value from json_each(?))")  # any number of them as one value
            bound.append(_encode(sorted(hidden)))
        backwards = ending_before is not None
        cursor = ending_before or starting_after
        if cursor is not None:
            place = self._db.execute(
                f"select created, seq from {self._table.name} where kind = ? and id = ? and gone = 0", (kind, cursor)
            ).fetchone()
            if place is None:
                raise KeyError(cursor)
            clauses.append(f"(created, seq) {'>' if backwards else '<'} (?, ?)")
            bound += place
        order = "asc" if backwards else "desc"
        # The few rows of one owner are found by their index and sorted; else SQLite walks through all in their order.
        by = "+created" if parent is not None or any(name in OWNERS for name in where or ()) else "created"
        rows = self._db.execute(
            f"select body from {self._table.name} where {' and '.join(clauses)}"
            f" order by {by} {order}, seq {order} limit ?",
            (*bound, limit + 1),
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
            f"select kind, id from {self._table.name} where seq > ? and gone = 0 order by seq", (place,)
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
                f"update {self._table.name} set seq = ? where kind = ? and id = ?", (-place, kind, row.obj["id"])
            )
        self._db.execute(f"update {self._table.name} set seq = -seq where seq < 0")

    def count(self, kind: str) -> int:
        self._write()
        return int(
            self._db.execute(
                f"select count(*) from {self._table.listed} where kind = ? and gone = 0", (kind,)
            ).fetchone()[0]
        )

    def counts(self) -> dict[str, int]:
        self._write()
        return dict(
            self._db.execute(
                f"select kind, count(*) from {self._table.listed} where gone = 0 group by kind order by kind"
            )
        )

    def born_with(self, kind: str, attribute: str) -> list[str]:
        """The ids of a kind's objects that have a value in an attribute which never changes."""
        self._write()
        seen, ids = self._born.get((kind, attribute), (0, []))
        if seen > self._seq:  # what was seen may have been taken back
            seen, ids = 0, []
        if seen < self._seq:
            rows = self._db.execute(
                f"select id from {self._table.name} where seq > ? and kind = ? and json_extract(body, ?) is not null",
                (seen, kind, f"$.{attribute}"),
            )
            self._born[kind, attribute] = (self._seq, ids := [*ids, *(row[0] for row in rows)])
        return ids

    def all(self, kind: str) -> list[Object]:
        """Every object of a kind, oldest first."""
        self._write()
        rows = self._db.execute(
            f"select body from {self._table.name} where kind = ? and gone = 0 order by seq", (kind,)
        )
        return [_decode(row[0]) for row in rows]

    def prune(self, kind: str, before: int) -> None:
        """Forget the objects of a kind that were created before an instant."""
        self._write()
        self._begin()
        self._db.execute(f"delete from {self._table.name} where kind = ? and created < ?", (kind, before))
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
                    self._db.execute("insert or replace into meta values (?, ?, ?)", (store.account, name, encoded))
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

    def execute(self, statement: str, bound: Sequence[Any] = ()) -> sqlite3.Cursor:
        """A statement on a table that holds no objects, in the transaction that the next `flush` ends."""
        self._begin()
        return self._db.execute(statement, bound)

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("begin")

    def _write(self) -> None:
        if not self._dirty:
            return
        self._begin()
        self._db.executemany(self._table.upsert(), map(values, self._dirty.values()))
        self._dirty.clear()

    def close(self) -> None:
        self.flush()
        self._db.close()

    def _row(self, id: str, kind: str | None) -> Row | None:
        kind = kind or self._kind_of.get(id)
        if kind and (kind, id) in self._cache:
            return self._cache[kind, id]
        found = self._db.execute(
            f"select seq, kind, body, parent, {', '.join(_quoted)} from {self._table.name} where id = ? and gone = 0"
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
        row = Row(seq, kind, obj, parent, extra)
        self._cache[kind, id] = row
        self._kind_of.setdefault(id, kind)
        return row

    def _tombstone(self, id: str, kind: str | None) -> Object | None:
        found = self._db.execute(
            f"select tombstone from {self._table.name} where id = ? and gone = 1" + (" and kind = ?" if kind else ""),
            (id, kind) if kind else (id,),
        ).fetchone()
        return _decode(found[0]) if found and found[0] else None


_OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "="}
_quoted = [f'"{name}"' for name in INDEXED]
