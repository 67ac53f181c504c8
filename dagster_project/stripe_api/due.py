"""What a run has to read of each object: what was owed, what is due by the catalogue's rules, and by which requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb

from dagster_project.stripe_api.catalog import StripeObject
from dagster_project.stripe_api.owed import FOREVER, Owed
from dagster_project.stripe_api.plan import Place, cheapest
from dagster_project.stripe_api.standing import Key, fingerprints, known_ids, places, rows_by_rule, values_of
from dagster_project.warehouse.state import Cursor

# Rows may become listable late with an older `created` (https://github.com/singer-io/tap-stripe/pull/45 saw balance
# transactions do so).
_OVERLAPS = {"balance_transactions": 3600}
_OVERLAP = 600
_MAY_APPEAR = 86_400  # seconds in which an object that an event announced may still become readable


def overlap(row: StripeObject) -> int:
    """Seconds before the last listing that the next one reads again."""
    return _OVERLAPS.get(row.name, _OVERLAP)


@dataclass
class Due:
    """`cursor` is what holds once everything `owed` has been read; `known` are fingerprints of rows that are read
    again, `missing` ids that the warehouse has not. Beside what is listed, `single` ids are read one by one, and
    `filtered` ones listed by their second and the value of a filter. `sweep`: the slow cycle of what no event tells is
    due; `swept`: rows are read again by a rule."""

    row: StripeObject
    cursor: Cursor
    owed: Owed
    known: Mapping[str, str] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    single: list[str] = field(default_factory=list)
    filtered: dict[str, tuple[int, str]] = field(default_factory=dict)
    sweep: bool = False
    swept: bool = False


def whole(row: StripeObject, anchor: int, start: int, owed: Owed | None = None) -> Due:
    """Everything, as if the object had never been read; single ids that were owed stay so, because lists may hide
    them."""
    owed = Owed(ids=dict(owed.ids) if owed else {})
    cursor: Cursor = {"high": anchor, "listed": anchor, "whole": True}
    if row.strategy == "chain":
        owed.after = ""
    else:
        owed.owe([(start, FOREVER)])
    return Due(row, cursor, owed)


def due(row: StripeObject, cursor: Cursor, anchor: int, start: int, *, moved: bool = False) -> Due:
    """By the rules: what was owed, the time since the last listing where rows may have appeared without an event (now,
    when something gave that away or `moved` says so), and everything when the last whole listing is too long ago."""
    owed = Owed.read(cursor.get("owed"))
    kept = {name: value for name, value in cursor.items() if name != "owed"}
    if row.relist_hours is not None and anchor - kept["listed"] >= row.relist_hours * 3600:
        again = whole(row, anchor, start, owed)
        return Due(row, {**kept, **again.cursor}, again.owed)
    unannounced = row.silent or not (row.events or row.relist_hours)
    sweep = bool(unannounced or row.open_sql) and anchor - kept.get("swept", kept["listed"]) >= row.sweep_hours * 3600
    if sweep:
        kept["swept"] = anchor
    if row.strategy == "window" and unannounced:
        if moved or owed.ranges:
            kept["stirred"] = anchor
        # What gave rows away may be there before the rows are listed.
        late = row.name in _OVERLAPS and anchor - kept.get("stirred", kept["listed"]) < overlap(row)
        if sweep or moved or owed.ranges or late:
            owed.owe([(kept["high"] - overlap(row), FOREVER)])
            kept["high"] = anchor
    return Due(row, kept, owed, sweep=sweep)


def appeared(row: StripeObject, cursor: Cursor) -> Cursor:
    """The cursor when an event gave away that rows appeared which have none of their own."""
    if "high" not in cursor:
        return cursor
    owed = Owed.read(cursor.get("owed"))
    owed.owe([(cursor["high"] - overlap(row), FOREVER)])
    return {**cursor, "owed": owed.kept()}


def prepared(con: duckdb.DuckDBPyConnection, one: Due, key: Key, now: int) -> Due:
    """With the rows that may have changed silently, by the cheapest requests, and what the warehouse knows of them."""
    row, owed = one.row, one.owed
    if "whole" not in one.cursor and one.cursor:
        rules = (row.due_sql, row.open_sql if one.sweep else None)
        for rule in filter(None, rules):
            waiting = rows_by_rule(con, row, key, rule, now)
            one.swept = one.swept or bool(waiting)
            owed.ids.update(waiting)
    itself = [key[0]] if row.name == "accounts" else []  # the account is read every time, whatever is due
    if not owed.ids and not owed.ranges and owed.after is None and not itself:
        return one
    one.missing = frozenset(owed.ids.keys() - known_ids(con, row, key, owed.ids)) if owed.ids else frozenset()
    if row.strategy == "window" and not one.cursor.get("plain"):
        at = places(con, row, key, owed.ids) if len(owed.ids) > 1 else {}
        covered = {id for id, place in at.items() if _inside(owed, place)}
        apart = {id: place for id, place in at.items() if id not in covered}
        filters = values_of(con, row, key, apart.keys()) if row.alone_by and apart else {}
        plan = cheapest(apart, [id for id in owed.ids if id not in at], filters)
        owed.owe(plan.ranges)
        # What stands nowhere may be shown by a list.
        one.single, one.filtered = [id for id in plan.single if id in apart], plan.filtered
    if "whole" not in one.cursor or row.relist_hours is not None:
        ranges = None if row.strategy == "chain" or one.cursor.get("plain") else owed.ranges
        one.known = fingerprints(con, row, key, ranges, [*owed.ids, *itself])
    return one


def _inside(owed: Owed, place: Place) -> bool:
    return any(low <= place.made <= high for low, high in owed.ranges)


def may_appear(one: Due, id: str, now: int) -> bool:
    """Whether an object that Stripe does not have was announced so lately that it may just not be readable yet."""
    made = one.owed.ids.get(id)
    return id in one.missing and made is not None and now - made < _MAY_APPEAR


def kept(one: Due) -> Cursor:
    """The cursor as it is while something is owed."""
    rest = one.owed.kept()
    return {**one.cursor, "owed": rest} if rest else one.cursor
