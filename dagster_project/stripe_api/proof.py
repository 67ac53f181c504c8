"""The ledger of proofs, and what is to be proven next.

A day is proven when Stripe was read once more and showed what the warehouse holds; the first reading proves nothing.
`sync.proofs` keeps what was shown, so that later changes of the warehouse open the day again by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import duckdb

from dagster_project.stripe_api.catalog import CATALOGUE, EVENT_RETENTION_DAYS, StripeObject
from dagster_project.stripe_api.comparing import Compared
from dagster_project.stripe_api.fingerprints import NO_DAY
from dagster_project.stripe_api.owed import Range
from dagster_project.warehouse import days
from dagster_project.warehouse.days import MODULUS, Key

_DAY = 86_400
_PAGE = 100
_EPOCH = date(1970, 1, 1).toordinal()
_OWN = "account_id = ? and livemode = ?"
# The warehouse's days with the proof that still holds for each: its time, or null.
_HELD = """
    select d.*, case when p.agreed and p.rows_stripe = d.rows and p.checksum_stripe = d.checksum
                     then p.compared_at end as proof
    from sync.days as d left join sync.proofs as p
        on p.account_id = d.account_id and p.livemode = d.livemode and p.object = d.object and p.via = d.via
        and p.day is not distinct from d.day
"""


@dataclass
class Unit:
    """What is read together to prove something: ranges of one list, or (None) a whole list or a list per parent."""

    row: StripeObject
    ranges: list[Range] | None = None


@dataclass(frozen=True)
class _Cell:
    """A day of a list and the empty days before it; `age` is the Unix second of the oldest proof, 0 without."""

    name: str
    place: int
    low: int
    high: int
    rows: int
    age: int


def everything(names: Iterable[str], since: int, until: int) -> list[Unit]:
    """All objects whole; of events, the days that Stripe still has whole."""
    return [
        Unit(row, [(_oldest(row, since, until), until)] if row.strategy == "window" else None) for row in _listed(names)
    ]


def sample(
    con: duckdb.DuckDBPyConnection, names: Iterable[str], key: Key, since: int, until: int, budget: int,
    parents: Mapping[str, int],
) -> list[Unit]:  # fmt: skip
    """The days whose proof is oldest, those never proven first, as many as `budget` requests reach.

    What cannot be divided (a list without `created` filter, or one per parent: `parents` says how many) is taken whole
    when its turn comes and the budget reaches it.
    """
    units, chosen, spent = [], dict[str, dict[int, _Cell]](), 0.0
    cells = [cell for row in _listed(names) for cell in _cells(con, row, key, since, until)]
    for cell in sorted(cells, key=lambda cell: (cell.age, -cell.high)):
        row = CATALOGUE[cell.name]
        if row.strategy != "window":
            cost = float(parents.get(row.name, cell.rows // _PAGE + 1))
        else:
            taken = chosen.setdefault(row.name, {})
            cost = cell.rows / _PAGE + (not {cell.place - 1, cell.place + 1} & taken.keys())
        if spent + cost > budget:
            continue
        spent += cost
        if row.strategy == "window":
            chosen[row.name][cell.place] = cell
        else:
            units.append(Unit(row))
    for name, taken in chosen.items():
        if taken:
            units.append(Unit(CATALOGUE[name], _joined(taken.values())))
    return units


def _joined(cells: Iterable[_Cell]) -> list[Range]:
    ranges: list[Range] = []
    for cell in sorted(cells, key=lambda cell: cell.low):
        if ranges and ranges[-1][1] + 1 == cell.low:
            ranges[-1] = (ranges[-1][0], cell.high)
        else:
            ranges.append((cell.low, cell.high))
    return ranges


def _listed(names: Iterable[str]) -> list[StripeObject]:
    """The objects to list for `names`: children come with their parents."""
    wanted = set(names)
    for name in names:
        wanted |= {one.via for one in days.sources(CATALOGUE[name])}
    return [row for row in CATALOGUE.values() if row.name in wanted and row.path and row.strategy != "children"]


def _cells(con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key, since: int, until: int) -> list[_Cell]:
    found = con.execute(
        f"select day, sum(rows)::bigint, case when count(*) = count(proof) then epoch(min(proof))::bigint else 0 end "
        f"from ({_HELD}) where via = ? and {_OWN} group by day order by day nulls first",
        [row.name, *key],
    ).fetchall()
    if row.strategy != "window":
        return [_Cell(row.name, 0, 0, until, sum(one[1] for one in found), min((one[2] for one in found), default=0))]
    oldest = _oldest(row, since, until)
    held = [(_second(day), rows, age) for day, rows, age in found if day is not None]
    held = [one for one in held if oldest - _DAY < one[0] <= until]
    cells, low = [], oldest
    for place, (start, rows, age) in enumerate(held):
        high = until if place == len(held) - 1 else start + _DAY - 1
        cells.append(_Cell(row.name, place, low, high, rows, age))
        low = high + 1
    return cells or [_Cell(row.name, 0, oldest, until, 0, found[0][2] if found else 0)]


def _oldest(row: StripeObject, since: int, until: int) -> int:
    """The first second to list; of events, that of the first day of which Stripe has forgotten nothing, because part of
    a day would undo the proof of the whole."""
    if row.name != "events":
        return since
    kept = until - EVENT_RETENTION_DAYS * _DAY + 3600
    return max(since, -(-kept // _DAY) * _DAY)


def _second(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


@dataclass
class Share:
    """How many days (of all objects) hold rows, and how many of them a reading has proven."""

    days: int = 0
    proven: int = 0
    by_object: dict[str, tuple[int, int]] = field(default_factory=dict)


def share(con: duckdb.DuckDBPyConnection, key: Key) -> Share:
    """What is proven of one account."""
    found = con.execute(
        f"select object, count(*), count(*) filter (proven) from (select object, day, bool_and(proof is not null) as "
        f"proven from ({_HELD}) where {_OWN} and rows > 0 group by object, day) group by object order by object",
        [*key],
    ).fetchall()
    return Share(sum(one[1] for one in found), sum(one[2] for one in found), {o: (n, m) for o, n, m in found})


Entry = tuple[str, str, date | None, int, int, int, int, bool, int, datetime]


def entries(compared: Iterable[Compared], differing: Mapping[str, set[int]], asked_at: datetime) -> list[Entry]:
    """What one reading, begun at `asked_at`, showed per day; `differing` has the days of each object on which something
    differed."""
    made: list[Entry] = []
    for one in compared:
        held_rows, held_sums = _held(one)
        for day in sorted({*one.rows, *held_rows} or {NO_DAY}):
            shown, holds = (one.rows[day], one.sums[day]), (held_rows.get(day, 0), held_sums.get(day, 0))
            agreed = shown == holds and day not in differing.get(one.row.name, ())
            on = None if day == NO_DAY else date.fromordinal(_EPOCH + day)
            made.append(
                (one.row.name, one.via, on, shown[0], shown[1] % MODULUS, holds[0], holds[1] % MODULUS, agreed,
                 max(1, one.answers[day]), asked_at)
            )  # fmt: skip
    return made


def write(con: duckdb.DuckDBPyConnection, key: Key, entries: Sequence[Entry]) -> None:
    """Enter what readings showed, in one transaction. Days on which the warehouse holds something else than it has
    counted are counted again."""
    names = "object, via, day, rows_stripe, checksum_stripe, rows_warehouse, checksum_warehouse, agreed, requests"
    names += ", compared_at"
    types = ("varchar", "varchar", "date", "bigint", "bigint", "bigint", "bigint", "boolean", "bigint", "timestamptz")
    unnested = ", ".join(
        f"unnest(?::{type_}[]) as {name}" for name, type_ in zip(names.split(", "), types, strict=True)
    )
    con.execute("begin")
    con.execute(
        f"create or replace temp table proof as select {unnested}", [list(c) for c in zip(*entries, strict=True)]
    )
    con.execute(
        """
        create or replace temp table proven as
        select n.*, case when n.agreed then n.compared_at else p.proven_at end as proven_at
        from temp.proof as n left join sync.proofs as p on p.account_id = ? and p.livemode = ?
            and p.object = n.object and p.via = n.via and p.day is not distinct from n.day
        """,
        [*key],
    )
    con.execute(
        f"delete from sync.proofs as p using temp.proof as n where p.{_OWN.replace('and ', 'and p.')} "
        "and p.object = n.object and p.via = n.via and p.day is not distinct from n.day",
        [*key],
    )
    con.execute(
        f"insert into sync.proofs by name select ? as account_id, ? as livemode, {names}, proven_at, "
        "'audit' as method from temp.proven",
        [*key],
    )
    con.execute("update sync.version set version = version + 1")  # the models show it
    stale = con.execute(
        "select distinct n.object from temp.proof as n left join sync.days as d "
        "on d.account_id = ? and d.livemode = ? and d.object = n.object and d.via = n.via "
        "and d.day is not distinct from n.day where coalesce(d.rows, 0) <> n.rows_warehouse "
        "or coalesce(d.checksum, 0) <> n.checksum_warehouse",
        [*key],
    ).fetchall()
    con.execute("commit")
    for (name,) in stale:
        days.recount(con, CATALOGUE[name], *key)


def _held(one: Compared) -> tuple[dict[int, int], dict[int, int]]:
    rows, sums = dict[int, int](), dict[int, int]()
    for day, content in zip(one.known.days, one.known.prints, strict=True):
        rows[day] = rows.get(day, 0) + 1
        sums[day] = sums.get(day, 0) + content
    return rows, sums
