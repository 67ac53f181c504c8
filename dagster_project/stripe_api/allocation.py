"""The read allocation: how many GETs Stripe allows in 30 days, how many were made, and how often polling fits into it.

Rules: https://docs.stripe.com/rate-limits#api-read-request-allocations. 500 per transaction over a rolling 30 days, at
least 10,000; what a platform's key reads of its connected accounts counts together, apart from the platform's own.
Days are those of Stripe's clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median

import duckdb

from dagster_project.errors import WarehouseLocked
from dagster_project.settings import Settings
from dagster_project.stripe_api.governor import Governor
from dagster_project.warehouse.connection import Warehouse, open_file

PER_TRANSACTION, FLOOR, DAYS = 500, 10_000, 30
_POLL = 10  # GETs that a poll is taken to cost until three were made
_POLLS = 9  # of which the median is taken: one backfill among them must not stop polling
_DETAIL = 7  # days


# ---- rules ---------------------------------------------------------------------------------------------------
def allowed(transactions: int) -> int:
    """GETs in 30 days for so many transactions in the same 30 days."""
    return max(FLOOR, PER_TRANSACTION * transactions)


def used(by_day: Mapping[date, int], today: date, ahead: int = 0) -> int:
    """GETs made so far that still count in so many days from `today`."""
    first = today + timedelta(days=ahead - DAYS + 1)
    return sum(number for day, number in by_day.items() if first <= day <= today)


def projected(by_day: Mapping[date, int], today: date) -> int:
    """The most GETs in any 30 days from now on if the days go on like the middle one of the last seven.

    Until three days are known, which may be a backfill's, nothing is added to what was used.
    """
    whole = [by_day.get(today - timedelta(days=n), 0) for n in range(1, 8) if today - timedelta(days=n) >= min(by_day)]
    pace = median(whole) if len(whole) >= 3 else 0
    return max(used(by_day, today, ahead) + round(pace * ahead) for ahead in range(DAYS + 1))


def pause_between_polls(by_day: Mapping[date, int], now: datetime, most: int, polls: Sequence[int]) -> timedelta:
    """The shortest time between two polls with which no 30 days from now on hold more than `most` GETs.

    `polls` are the GETs of past ones. Once all are used, the time until some no longer count.
    """
    today, gone = now.date(), (now - now.replace(hour=0, minute=0, second=0, microsecond=0)) / timedelta(days=1)
    left = [most - used(by_day, today, ahead) for ahead in range(DAYS + 1)]
    per_day = min(number / min(ahead + 1 - gone, DAYS) for ahead, number in enumerate(left))
    if per_day <= 0:
        return timedelta(days=next((ahead for ahead, number in enumerate(left) if number > 0), DAYS) - gone)
    cost = median(polls[-_POLLS:]) if len(polls) >= 3 else _POLL
    return timedelta(days=cost / per_day)


# ---- what was used -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Allocation:
    """What one allocation stands at. `who` is an account, or all connected accounts that one key reads."""

    who: str
    livemode: bool
    transactions: int
    by_day: Mapping[date, int]
    polls: tuple[int, ...]
    last_poll: datetime | None
    now: datetime

    @property
    def used(self) -> int:
        return used(self.by_day, self.now.date())

    @property
    def allowed(self) -> int:
        return allowed(self.transactions)

    @property
    def projected(self) -> int:
        return projected(self.by_day, self.now.date())

    def next_poll(self, leave: float) -> datetime | None:
        """When the next one fits, with the share `leave` of the allocation left to others; None: at once."""
        if self.last_poll is None:
            return None
        most = int(self.allowed * (1 - leave))
        at = self.last_poll + pause_between_polls(self.by_day, self.now, most, self.polls)
        return at if at > self.now else None


def record(
    con: duckdb.DuckDBPyConnection, key: tuple[str, bool], now: datetime, governor: Governor,
    through: str | None = None, *, poll: bool = True,
) -> None:  # fmt: skip
    """Add what `governor` counted since it was last recorded, at `now` by Stripe's clock; `through` names the account
    whose key read a connected one. Polls are told apart for a week, days for two months."""
    counted = Counter({(endpoint, "requests"): number for endpoint, number in governor.requests.items()})
    for (endpoint, _), number in governor.refusals.items():
        counted[endpoint, "refused"] += number
    new = counted - governor.recorded
    read_at = now if poll else None
    rows = [
        (*key, through, now.date(), read_at, endpoint, new[endpoint, "requests"], new[endpoint, "refused"])
        for endpoint in sorted({endpoint for endpoint, _ in new})
    ]
    if not rows:
        return
    con.execute("begin")
    con.executemany("insert into sync.requests values (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    past = "account_id = ? and livemode = ? and read_at is not null and day <= ?"
    week_ago = [*key, now.date() - timedelta(days=_DETAIL)]
    con.execute(
        "create or replace temp table past as select account_id, livemode, through, day, null::timestamptz as read_at, "
        "endpoint, sum(requests)::bigint as requests, sum(refused)::bigint as refused "
        f"from sync.requests where {past} group by all",
        week_ago,
    )
    con.execute(f"delete from sync.requests where {past}", week_ago)
    con.execute("insert into sync.requests from temp.past")
    con.execute("delete from sync.requests where day <= ?", [now.date() - timedelta(days=2 * DAYS)])
    con.execute("commit")
    governor.recorded = counted


def standings(con: duckdb.DuckDBPyConnection, now: datetime | None = None) -> list[Allocation]:
    """Every allocation that anything was read from, at `now` or, by default, when it was last read."""
    if not con.execute(
        "select 1 from duckdb_tables() where schema_name = 'sync' and table_name = 'requests'"
    ).fetchone():
        return []  # a file of before this was counted
    pools = con.execute(
        "select coalesce(through, account_id), livemode, through is not null, list(distinct account_id), max(read_at), "
        "max(day) from sync.requests group by all order by all"
    ).fetchall()
    return [_standing(con, now, *pool) for pool in pools]


def _standing(
    con: duckdb.DuckDBPyConnection, now: datetime | None, who: str, livemode: bool, connected: bool,
    accounts: list[str], last_poll: datetime | None, last_day: date,
) -> Allocation:  # fmt: skip
    at = now or last_poll or datetime(last_day.year, last_day.month, last_day.day, tzinfo=UTC)
    mine = "coalesce(through, account_id) = ? and livemode = ? and (through is not null) = ?"
    pool = [who, livemode, connected]
    days = con.execute(f"select day, sum(requests)::bigint from sync.requests where {mine} group by day", pool)
    by_day = dict(days.fetchall())
    polls = con.execute(
        "select sum(number)::bigint from (select sum(requests) as number, "
        "row_number() over (partition by account_id order by read_at desc) as nth "
        f"from sync.requests where {mine} and read_at is not null group by account_id, read_at) "
        f"where nth <= {_POLLS} group by nth order by nth desc",
        pool,
    ).fetchall()
    found = con.execute(
        "select count(*) from stripe.charges where status = 'succeeded' and livemode = ? "
        "and account_id in (select unnest(?::varchar[])) and created > ? and created <= ?",
        [livemode, accounts, at - timedelta(days=DAYS), at],
    ).fetchone()
    return Allocation(
        who=f"connected accounts of {who}" if connected else who,
        livemode=livemode,
        transactions=int(found[0]) if found else 0,
        by_day=by_day,
        polls=tuple(number for (number,) in polls),
        last_poll=last_poll,
        now=at,
    )


def reason_to_wait(settings: Settings, warehouse: Warehouse, now: datetime | None = None) -> str | None:
    """Why a poll at `now` would use more than the allocation has left for the coming days; None when it fits.

    One account that must wait holds up all, because a run reads all. The local simulator allows everything.
    """
    if settings.uses_simulator:
        return None
    now = now or datetime.now(UTC)
    waiting = [
        (at, one)
        for one in _known(warehouse, now)
        if (at := one.next_poll(settings.leave_for_others / 100)) is not None
    ]
    if not waiting:
        return None
    at, one = max(waiting, key=lambda pair: pair[0])
    return (
        f"{one.who} has used {one.used:,} of the {one.allowed:,} reads that Stripe allows it in 30 days, so that the "
        f"next one fits at {at:%Y-%m-%d %H:%M} UTC."
    )


def _known(warehouse: Warehouse, now: datetime) -> list[Allocation]:
    """From the build; while a run writes there, from what was published before."""
    for path in (warehouse.build, warehouse.published.resolve()):
        if path.exists():
            try:
                with open_file(path, read_only=True, wait=0) as con:
                    return standings(con, now)
            except WarehouseLocked:
                continue
    return []
