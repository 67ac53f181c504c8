"""How many reads Stripe allows, what was used, and how far apart polls must be to fit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from aiohttp import web
from fake_stripe import ACCOUNT, FakeStripe

from dagster_project.doctor import _warehouse
from dagster_project.errors import StripeUnreachable
from dagster_project.settings import Settings
from dagster_project.stripe_api import allocation
from dagster_project.stripe_api.allocation import pause_between_polls, record, standings, used
from dagster_project.stripe_api.governor import Governor
from dagster_project.stripe_api.sync import sync
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.publish import publish
from dagster_project.warehouse.schema import ensure

TODAY = date(2026, 11, 24)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEY = ("acct_1", True)


def before(days: int) -> date:
    return TODAY - timedelta(days=days)


@pytest.mark.parametrize(("transactions", "most"), [(0, 10_000), (20, 10_000), (21, 10_500), (2_000, 1_000_000)])
def test_stripe_allows_500_reads_per_transaction_and_10_000_at_least(transactions: int, most: int) -> None:
    assert allocation.allowed(transactions) == most


def test_thirty_days_count_and_what_is_older_does_not() -> None:
    by_day = {TODAY: 1, before(29): 10, before(30): 100}
    assert [used(by_day, TODAY, ahead) for ahead in (0, 1, 29, 30)] == [11, 1, 1, 0]


def test_the_projection_follows_the_usual_day_and_not_one_backfill() -> None:
    hourly = {before(n): 480 for n in range(40)}
    assert allocation.projected(hourly, TODAY) == 30 * 480
    fresh = {before(1): 5_000, TODAY: 100}
    assert allocation.projected(fresh, TODAY) == 5_100
    assert 5_000 < allocation.projected({**fresh, **{before(n): 50 for n in range(2, 8)}}, TODAY) < 7_500


def simulated(by_day: dict[date, int], most: int, cost: int, days: int) -> tuple[int, list[int]]:
    """The most that any 30 days hold, and the polls of each day, when polls come as soon as they may."""
    moment, worst, polls = NOON, used(by_day, TODAY), [0] * (days + 1)
    while moment < NOON + timedelta(days=days):
        pause = pause_between_polls(by_day, moment, most, [cost] * 9)
        assert pause > timedelta(0)
        moment += pause
        by_day[moment.date()] = by_day.get(moment.date(), 0) + cost
        if moment < NOON + timedelta(days=days):
            worst = max(worst, used(by_day, moment.date()))
            polls[(moment - NOON).days] += 1
    return worst, polls


@pytest.mark.parametrize(
    "history",
    [
        {},
        {TODAY: 6_000},
        {before(n): 330 for n in range(30)},
        {before(29): 9_000, TODAY: 400},
        {before(n): 900 if n < 8 else 10 for n in range(30)},
    ],
    ids=["nothing yet", "backfilled today", "at the limit", "backfilled a month ago", "a busy week"],
)
def test_polls_that_come_as_soon_as_they_may_use_the_allocation_and_never_more(history: dict[date, int]) -> None:
    worst, polls = simulated(dict(history), 10_000, 10, 90)
    assert worst <= 10_000
    assert sum(polls[60:90]) * 10 >= 0.9 * 10_000, "and what is allowed is used"


def test_when_all_is_used_polling_waits_until_something_no_longer_counts() -> None:
    assert pause_between_polls({before(27): 10_000}, NOON, 10_000, []) == timedelta(days=2.5)
    assert pause_between_polls({TODAY: 20_000}, NOON, 10_000, []) == timedelta(days=29.5)


def test_one_backfill_does_not_make_polls_look_dear() -> None:
    usual = pause_between_polls({}, NOON, 10_000, [10] * 9)
    assert pause_between_polls({}, NOON, 10_000, [8_000, 10, 10, 10, 12]) == usual
    assert pause_between_polls({}, NOON, 10_000, [8_000]) == usual
    assert usual == timedelta(days=0.03)
    assert pause_between_polls({}, NOON, 1_000_000, [10] * 9) < timedelta(seconds=30)


# ---- in the warehouse --------------------------------------------------------------------------------------
@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


@pytest.fixture
def con(warehouse: Warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    with warehouse.connect() as con:
        ensure(con)
        yield con


def counted(governor: Governor, **requests: int) -> Governor:
    governor.requests.update({f"/{name}": number for name, number in requests.items()})
    return governor


def everything(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return con.execute(
        "select day, read_at is not null, endpoint, requests, refused from sync.requests order by all"
    ).fetchall()


def test_what_was_asked_is_kept_once_per_run_and_endpoint(con: duckdb.DuckDBPyConnection) -> None:
    governor = counted(Governor(), events=2, charges=5)
    governor.refusals["/charges", "endpoint-rate"] = 1
    record(con, KEY, NOON, governor)
    record(con, KEY, NOON, governor)
    counted(governor, charges=1)
    governor.refusals["/charges", "lock"] = 2
    record(con, KEY, NOON + timedelta(hours=1), governor)
    assert everything(con) == [
        (TODAY, True, "/charges", 1, 2),
        (TODAY, True, "/charges", 5, 1),
        (TODAY, True, "/events", 2, 0),
    ]


def test_runs_of_days_past_are_added_up_and_old_days_forgotten(con: duckdb.DuckDBPyConnection) -> None:
    for days in (70, 10, 10, 7, 6, 0):
        record(con, KEY, NOON - timedelta(days=days), counted(Governor(), events=3))
    assert everything(con) == [
        (before(10), False, "/events", 6, 0),
        (before(7), False, "/events", 3, 0),
        (before(6), True, "/events", 3, 0),
        (TODAY, True, "/events", 3, 0),
    ]


def charges(con: duckdb.DuckDBPyConnection, account: str, number: int, *, days_ago: float = 0.2) -> None:
    con.executemany(
        "insert into stripe.charges (account_id, livemode, id, status, created) values (?, true, ?, 'succeeded', ?)",
        [(account, f"ch_{n}", NOON - timedelta(days=days_ago)) for n in range(number)],
    )


def test_what_an_account_stands_at_counts_its_own_charges_and_runs(con: duckdb.DuckDBPyConnection) -> None:
    charges(con, "acct_1", 30)
    charges(con, "acct_2", 50)
    for hours, number in ((50, 4_000), (3, 12), (2, 10), (1, 11)):
        record(con, KEY, NOON - timedelta(hours=hours), counted(Governor(), events=number))
    (one,) = standings(con)
    assert (one.who, one.livemode, one.transactions, one.allowed) == ("acct_1", True, 30, 15_000)
    assert (one.used, one.polls, one.now) == (4_033, (4_000, 12, 10, 11), NOON - timedelta(hours=1))
    at = one.next_poll(0.05)
    assert at is not None and timedelta(minutes=30) < at - one.now < timedelta(hours=1.5)


def test_old_charges_and_charges_that_failed_are_no_transactions(con: duckdb.DuckDBPyConnection) -> None:
    charges(con, "acct_1", 40, days_ago=31)
    con.execute("insert into stripe.charges (account_id, livemode, id, status, created) values "
                "('acct_1', true, 'ch_x', 'failed', ?)", [NOON])  # fmt: skip
    record(con, KEY, NOON, counted(Governor(), events=1))
    assert [one.transactions for one in standings(con)] == [0]


def test_what_a_platform_reads_of_its_connected_accounts_is_one_allocation(con: duckdb.DuckDBPyConnection) -> None:
    for account, number in (("acct_a", 15), ("acct_b", 25)):
        charges(con, account, number)
        for hours in (2, 1):
            record(con, (account, True), NOON - timedelta(hours=hours), counted(Governor(), events=7), "platform")
    record(con, KEY, NOON, counted(Governor(), events=3))
    own, together = standings(con, NOON)
    assert (own.who, own.used, own.transactions) == ("acct_1", 3, 0)
    assert (together.who, together.used) == ("connected accounts of platform", 28)
    assert (together.transactions, together.allowed, together.polls) == (40, 20_000, (14, 14))


def real(tmp_path: Path, **values: str) -> Settings:
    return Settings.load({"LEDGERLINE_DATA_DIR": str(tmp_path), **values}, dotenv=tmp_path / "no.env")


def test_a_poll_that_does_not_fit_is_told_to_wait_and_why(warehouse: Warehouse, tmp_path: Path) -> None:
    settings = real(tmp_path, STRIPE_API_KEY="sk_live_unit")
    assert allocation.reason_to_wait(settings, warehouse, NOON) is None, "nothing is known yet"
    with warehouse.connect() as con:
        ensure(con)
        assert allocation.reason_to_wait(settings, warehouse, NOON) is None, "a run writes, nothing is published"
        record(con, KEY, NOON, counted(Governor(), charges=9_400, events=1))
    reason = allocation.reason_to_wait(settings, warehouse, NOON + timedelta(minutes=5))
    assert reason is not None
    assert reason.startswith("acct_1 has used 9,401 of the 10,000 reads that Stripe allows it in 30 days")
    assert allocation.reason_to_wait(settings, warehouse, NOON + timedelta(days=31)) is None
    assert allocation.reason_to_wait(real(tmp_path), warehouse, NOON) is None, "the simulator allows everything"


def test_doctor_warns_when_the_allocation_does_not_suffice(warehouse: Warehouse, tmp_path: Path) -> None:
    with warehouse.connect() as con:
        ensure(con)
        record(con, KEY, NOON, counted(Governor(), charges=9_000))
        record(con, ("acct_2", True), NOON, counted(Governor(), charges=11_000))
    publish(warehouse, data_until=NOON)
    found = [one for one in _warehouse(real(tmp_path, STRIPE_API_KEY="sk_live_unit")) if "reads" in one.topic]
    assert [(one.topic, one.state) for one in found] == [("acct_1: reads", "ok"), ("acct_2: reads", "warn")]
    assert "11,000 of 10,000 that Stripe allows in 30 days" in found[1].detail
    assert found[1].next_step


def test_a_file_from_before_requests_were_counted_tells_nothing(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("drop table sync.requests")
    assert standings(con) == []


@pytest.mark.parametrize("breaks", [False, True], ids=["a run that ends well", "a run that breaks off"])
def test_every_request_of_a_run_is_counted(stripe: FakeStripe, settings: Settings, breaks: bool) -> None:
    def hook(request: web.Request) -> web.StreamResponse | None:
        if breaks and request.path == "/v1/events":
            return web.Response(text="<html>Sign in</html>", content_type="text/html")
        return None

    stripe.hook = hook
    warehouse = Warehouse(settings.data_dir)
    if breaks:
        with pytest.raises(StripeUnreachable):
            sync(settings, warehouse)
    else:
        sync(settings, warehouse)
    with warehouse.connect(read_only=True) as con:
        counted = con.execute("select account_id, livemode, sum(requests)::bigint from sync.requests group by all")
        assert counted.fetchall() == [(ACCOUNT, False, stripe.requests.total())]
        assert [one.used for one in standings(con)] == [stripe.requests.total()]
