"""kill -9 at any instant: no manual step, nothing lost or twice, and what was durable is not read again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagster_project.simulator.engine.flat import fill
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.warehouse.publish import current, publish, reading
from whole.deeds import do
from whole.following import Following
from whole.local_stripe import LocalStripe
from whole.truth import UNTIL_SWEPT

HOUR = 3600
Instant = Callable[[Following], Callable[[], bool]]


# ---- instants, told from outside -----------------------------------------------------------------------------
def seconds(number: float) -> Instant:
    def begin(following: Following) -> Callable[[], bool]:
        moment = time.monotonic() + number
        return lambda: time.monotonic() >= moment

    return begin


def requests(number: int) -> Instant:
    """While Stripe is being read."""

    def begin(following: Following) -> Callable[[], bool]:
        before = following.stripe.served
        return lambda: following.stripe.served - before >= number

    return begin


def files(number: int) -> Instant:
    """While pages are being landed."""

    def begin(following: Following) -> Callable[[], bool]:
        before = following.landed
        return lambda: following.landed - before >= number

    return begin


def unfinished_file(following: Following) -> Callable[[], bool]:
    """Between the rows of a file and the manifest that makes them count."""

    def unfinished() -> bool:
        names = [file.name for file in (following.folder / "landing").rglob("*.*") if file.is_file()]
        manifests = sum(name.endswith(".manifest.json") for name in names)
        return any(name.endswith(".tmp") for name in names) or len(names) != 2 * manifests

    return unfinished


def writing(size: int) -> Instant:
    """While rows and cursors are being committed: the log of the warehouse, or its file, has grown."""

    def begin(following: Following) -> Callable[[], bool]:
        build = following.warehouse.build
        log, before = build.with_name(build.name + ".wal"), build.stat()

        def written() -> bool:
            if log.exists():
                return log.stat().st_size >= size
            now = build.stat()
            return now.st_mtime_ns != before.st_mtime_ns and now.st_size >= before.st_size + size

        return written

    return begin


BACKFILL: list[Instant] = [
    seconds(0.05), requests(1), requests(5), files(1), unfinished_file, files(4), requests(30), files(9), writing(1),
    seconds(0.8), writing(60_000), files(3), writing(1), requests(8), writing(400_000),
]  # fmt: skip
REFRESH: list[Instant] = [
    requests(1), requests(3), files(1), unfinished_file, writing(1), requests(6), files(3), writing(20_000), files(6),
    requests(10), seconds(0.3), writing(1),
]  # fmt: skip


@pytest.mark.timeout(900)
def test_a_backfill_that_is_killed_everywhere_ends_whole(following: Following) -> None:
    """Each run takes over from one that was killed; nobody cleans up in between."""
    kills = 0
    for instant in BACKFILL:
        if following.killed(instant(following)):
            kills += 1
        else:  # it was done before: it is whole, and the next one begins with nothing
            assert following.differences() == []
            following.begin_anew()
    assert following.refresh().problems == []
    assert following.differences() == []
    assert kills >= 11, f"only {kills} runs were killed before they were done"


@pytest.mark.timeout(900)
def test_refreshes_that_are_killed_everywhere_end_whole(following: Following) -> None:
    """Changes go on in between, so that what a killed run knew is old when the next one takes over."""
    kills = 0
    following.refresh()
    deeds = ["customer_moves_twice", "pays_once", "is_billed_many_lines", "adds_many_items", "customer_leaves",
             "drops_an_item", "product_comes_and_goes", "takes_more", "is_refunded", "draft_loses_lines"]  # fmt: skip
    for number, instant in enumerate(REFRESH):
        for name in deeds[number % 3 :: 3]:
            do(following.stripe, name, number)
        following.stripe.advance(HOUR)
        kills += following.killed(instant(following))
        if number % 6 == 5:
            assert following.refresh().problems == []
            assert following.differences(swept=False) == []
    following.stripe.advance(UNTIL_SWEPT)
    assert following.refresh().problems == []
    assert following.differences() == []
    following.rebuild()
    assert following.differences() == []
    assert kills >= 9, f"only {kills} runs were killed before they were done"


@pytest.fixture
def large(tmp_path: Path, empty_warehouse: Path) -> Iterator[Following]:
    """Some 2,000 pages of customers, charges and balance transactions."""
    store = Store(tmp_path / "state.sqlite")
    with store.hurried():
        fill(World(store), seed=5, objects=200_000, months=6, progress=lambda line: None)
    store.close()
    local = LocalStripe(tmp_path / "state.sqlite")
    yield Following(local, tmp_path / "data", empty_warehouse)
    local.stop()


@pytest.mark.timeout(900)
def test_what_a_killed_backfill_had_landed_is_not_read_again(large: Following) -> None:
    there = {name: len(large.stripe.stored(row.kind)) for name, row in CATALOGUE.items() if row.path}
    least = sum(max(1, -(-number // 100)) for number in there.values())
    assert large.killed(requests(least // 2)(large))
    assert large.refresh().problems == []
    for name in ("customers", "charges", "balance_transactions"):
        assert large.rows(f"select count(*), count(distinct id) from stripe.{name}") == [(there[name], there[name])]
    assert large.stripe.served <= 1.15 * least, f"{large.stripe.served} requests; {least} are needed without a kill"


def test_a_publication_that_is_killed_leaves_the_one_before_or_is_whole(following: Following) -> None:
    following.refresh()
    publish(following.warehouse, data_until=datetime.now(UTC))
    for number in range(6):
        before = current(following.warehouse)
        assert before is not None
        begun = time.monotonic()
        following.killed(lambda begun=begun, number=number: time.monotonic() - begun > 0.02 * number, publishing=True)  # type: ignore[misc]
        with reading(following.warehouse) as con:
            assert con.execute("select count(*) > 0 from stripe.customers").fetchone() == (True,)
        now = current(following.warehouse)
        assert now is not None
        assert now.number in (before.number, before.number + 1)
    last = current(following.warehouse)
    assert last is not None
    assert publish(following.warehouse, data_until=datetime.now(UTC)).number > last.number
    left = [path.name for path in following.warehouse.versions.iterdir()]
    assert not [name for name in left if not name.isdigit()], "nothing half-made stays"
