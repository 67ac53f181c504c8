"""A range read by several workers: every row is read, however rows share seconds, and hardly a request is wasted."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter

import pytest
from aiohttp import web
from fake_stripe import NOW, FakeStripe, refusal, reply

from dagster_project.settings import Account
from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.stripe_api.client import Page, StripeClient
from dagster_project.stripe_api.governor import Governor
from dagster_project.stripe_api.landing import Landing
from dagster_project.stripe_api.owed import FOREVER
from dagster_project.stripe_api.ranges import Walk
from dagster_project.stripe_api.reading import by_window
from dagster_project.stripe_api.sink import Sink

CHARGES = CATALOGUE["charges"]


def read(stripe: FakeStripe, low: int, high: int, workers: int = 6) -> Counter[str]:
    seen: Counter[str] = Counter()

    def take(page: Page) -> None:
        seen.update(head.id for head in page.heads)

    async def run() -> None:
        async with StripeClient(Account("unit", "sk_test_unit"), stripe.url, Governor()) as client:
            await Walk(client, CHARGES, "/v1/charges", {}, [(low, high)], take).run(workers)

    asyncio.run(run())
    return seen


@pytest.mark.parametrize("seed", range(3))
def test_every_row_is_read_when_many_share_a_second(stripe: FakeStripe, seed: int) -> None:
    dice = random.Random(seed)
    seconds = [NOW - dice.randrange(200) for _ in range(30)]
    times = [dice.choice(seconds) for _ in range(1200)] + [NOW - dice.randrange(90 * 86_400) for _ in range(600)]
    stripe.put("/v1/charges", *({"id": f"ch_{n}", "created": at} for n, at in enumerate(times)))
    seen = read(stripe, NOW - 90 * 86_400, NOW)
    assert set(seen) == {f"ch_{n}" for n in range(1800)}
    assert stripe.requests["/v1/charges"] <= 2 * 18, "splitting must not cost more than it saves"


def test_both_ends_of_a_range_belong_to_it(stripe: FakeStripe) -> None:
    stripe.put("/v1/charges", *({"id": f"ch_{at}", "created": at} for at in range(NOW - 5, NOW + 6)))
    assert set(read(stripe, NOW - 2, NOW + 2)) == {f"ch_{at}" for at in range(NOW - 2, NOW + 3)}


def test_a_list_that_breaks_its_promise_of_more_is_read_on_by_time(stripe: FakeStripe) -> None:
    stripe.put("/v1/charges", *({"id": f"ch_{n}", "created": NOW - n // 50} for n in range(250)))
    broken: list[str] = []

    def hook(request: web.Request) -> web.StreamResponse | None:
        if request.query.get("starting_after") and not broken:
            broken.append(request.query["starting_after"])
            return reply({"object": "list", "data": [], "has_more": False, "url": "/v1/charges"})
        return None

    stripe.hook = hook
    assert set(read(stripe, 0, NOW, workers=1)) == {f"ch_{n}" for n in range(250)}
    assert broken


def test_a_cursor_that_was_deleted_starts_the_list_again(stripe: FakeStripe, tmp_path: object) -> None:
    stripe.put("/v1/charges", *({"id": f"ch_{n}", "created": NOW - n} for n in range(250)))
    died: list[str] = []

    def hook(request: web.Request) -> web.StreamResponse | None:
        after = request.query.get("starting_after")
        if after and not died:
            died.append(after)
            stripe.lists["/v1/charges"] = [one for one in stripe.lists["/v1/charges"] if one["id"] != after]
            return refusal(400, f"No such starting_after: {after}")
        return None

    stripe.hook = hook

    async def run() -> Sink:
        sink = Sink(Landing(tmp_path), CHARGES, "acct_1", False)  # type: ignore[arg-type]
        async with StripeClient(Account("unit", "sk_test_unit"), stripe.url, Governor()) as client:
            assert await by_window(client, sink, [(NOW - 1000, NOW)]) == "", "the range was not given up"
            sink.flush()
        return sink

    lines = [line for batch in asyncio.run(run()).batches for line in batch.lines()]
    assert {json.loads(line)["id"] for line in lines} >= {f"ch_{n}" for n in range(250) if f"ch_{n}" not in died}


def test_what_is_left_of_a_walk_is_all_that_was_not_taken(stripe: FakeStripe) -> None:
    """A walk that breaks off anywhere is resumed with what is left: every row is read, hardly one twice."""
    dice = random.Random(5)
    times = sorted(NOW - dice.randrange(60) * dice.choice([1, 50_000]) for _ in range(2500))
    stripe.put("/v1/charges", *({"id": f"ch_{n}", "created": at} for n, at in enumerate(times)))
    seen: Counter[str] = Counter()

    async def run() -> int:
        ranges, broken = [(0, FOREVER)], 0
        async with StripeClient(Account("unit", "sk_test_unit"), stripe.url, Governor()) as client:
            while ranges:
                pages = 0

                def take(page: Page) -> None:
                    nonlocal pages
                    pages += 1
                    seen.update(head.id for head in page.heads)
                    if pages > 3:
                        raise ConnectionAbortedError

                walk = Walk(client, CHARGES, "/v1/charges", {}, ranges, take)
                try:
                    await walk.run()
                except* ConnectionAbortedError:
                    broken += 1
                ranges = walk.left()
        return broken

    broken = asyncio.run(run())
    assert broken >= 4
    assert set(seen) == {f"ch_{n}" for n in range(2500)}
    assert stripe.requests["/v1/charges"] <= 25 * 1.3 + broken * 6, "only what was on its way is asked for again"
