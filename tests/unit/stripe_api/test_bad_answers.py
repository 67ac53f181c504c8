"""What goes wrong on the way: it is asked for again, and only a whole answer of Stripe's ever counts."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from fake_stripe import NOW, FakeStripe, refusal, reply
from raw_server import Ending, chunked, http, serving, zipped

from dagster_project.errors import StripeAnswerError, StripePermissionError, StripeUnreachable
from dagster_project.settings import Account
from dagster_project.stripe_api import reading
from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.stripe_api.client import Page, StripeClient
from dagster_project.stripe_api.clock import StripeClock
from dagster_project.stripe_api.governor import Governor

CHARGES = CATALOGUE["charges"]
WINDOW = {"created[gte]": 1_790_000_000, "created[lte]": 1_790_086_399, "starting_after": "ch_9"}
LIST = {"object": "list", "data": [{"id": "ch_1", "object": "charge", "created": NOW}], "has_more": False, "url": "x"}
HTML = b"<html><body>502 Bad Gateway</body></html>"


def pages(url: str, number: int = 1) -> list[Page]:
    """The same page several times, one after the other, over one client."""

    async def run() -> list[Page]:
        async with StripeClient(Account("unit", "sk_test_unit"), url, Governor()) as client:
            return [await client.page(CHARGES, "/v1/charges", WINDOW) for _ in range(number)]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        (http(LIST, length=5_000), "close"),
        (http(LIST, length=5_000), "reset"),
        (chunked(LIST, upto=30), "close"),
        (chunked(LIST, upto=-5), "close"),
        (zipped(LIST, cut=20), "keep"),
        (zipped(LIST, cut=20, length=5_000), "close"),
        (http(b"\x1f\x8bnot really", Content_Encoding="gzip"), "keep"),
        (http(b'{"object":"list","data":[{"id":"ch_1"'), "keep"),
        (http(b"", length=0), "keep"),
        (b"", "close"),
        (b"", "reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "close"),
        (http(HTML, 502, Content_Type="text/html"), "keep"),
        (http(HTML, 200, Content_Type="text/html"), "keep"),
        (http(HTML, 403, Content_Type="text/html"), "keep"),
        (http(b"upstream connect error", 200, Content_Type="text/plain"), "keep"),
        (http({"object": "list", "data": [{"object": "charge"}], "has_more": False}), "keep"),
        (http({"object": "list", "data": [], "has_more": True}), "keep"),
        (http({"error": {"message": "sorry"}}, 409), "keep"),
        (http({"error": {"message": "sorry", "code": "lock_timeout"}}, 429), "keep"),
    ],
)
@pytest.mark.parametrize("connection", ["new", "reused"])
def test_what_broke_on_the_way_is_asked_for_again(answer: bytes, ending: Ending, connection: str) -> None:
    whole = (http(LIST), "keep")
    with serving(LIST) as server:
        server.script = [*([whole] if connection == "reused" else []), (answer, ending), (answer, ending)]
        found = pages(server.url, 2 if connection == "reused" else 1)
    assert [page.heads[0].id for page in found] == ["ch_1"] * len(found)
    assert server.requests == len(found) + 2


def test_one_connection_serves_many_requests_and_compressed_answers_are_asked_for(stripe: FakeStripe) -> None:
    with serving(LIST) as server:
        server.script = [(zipped(LIST), "keep")]
        assert [page.lines for page in pages(server.url, 5)] == [
            [b'{"id":"ch_1","object":"charge","created":1800000000}']
        ] * 5
        assert (server.requests, server.connections) == (5, 1)
    stripe.hook = lambda request: reply(LIST)
    pages(stripe.url)
    assert stripe.headers[-1]["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (http({"error": {"message": "boom"}}, 500), StripeAnswerError, "failed 12 times (HTTP 500: boom)"),
        (http(LIST, length=5_000), StripeAnswerError, "did not answer completely in 12 tries"),
        (http(b'{"object":"list"'), StripeAnswerError, "was cut short in 12 tries"),
        (http(HTML), StripeUnreachable, "answers with a web page, not as Stripe does"),
        (http({"object": "list", "data": [{}], "has_more": False}), StripeAnswerError, "an object without id"),
        (http({"object": "list", "data": [], "has_more": True}), StripeAnswerError, "there is more and sends nothing"),
        (http({"object": "list", "data": [{"id": 7}], "has_more": False}), StripeAnswerError, "is no list"),
        (http({"error": {"message": "locked"}}, 429), StripeAnswerError, "40 times for its rate (HTTP 429: locked)"),
        (http({"error": {"message": "rak_charge_read"}}, 403), StripePermissionError, "(HTTP 403: rak_charge_read)"),
        (http({"error": {"message": "No such URL"}}, 404), StripeAnswerError, "was refused (HTTP 404: No such URL)"),
        (http(b"not here", 404), StripeAnswerError, "answers, but not as Stripe does (HTTP 404"),
        (http(b"", 302, Location="http://127.0.0.1:1/"), StripeAnswerError, "not as Stripe does (HTTP 302"),
    ],
)  # fmt: skip
def test_what_does_not_pass_names_object_window_and_request(answer: bytes, error: type[Exception], says: str) -> None:
    with serving(LIST) as server:
        server.script = [(answer, "close")] * 50
        with pytest.raises(error, match=re.escape(says)) as found:
            pages(server.url)
    said = str(found.value)
    assert "charges, created 2026-09-21 14:13:20 to 2026-09-22 14:13:19, after ch_9 (/v1/charges)" in said
    assert "request req_raw" in said


def test_stripe_says_what_must_not_be_tried_again(stripe: FakeStripe) -> None:
    stripe.hook = lambda request: refusal(500, "done for", **{"Stripe-Should-Retry": "false"})
    with pytest.raises(StripeAnswerError, match="done for"):
        pages(stripe.url)
    assert stripe.requests["/v1/charges"] == 1


def test_an_interruption_is_waited_out_once_stripe_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> int:
        with serving(LIST) as server:
            async with StripeClient(Account("unit", "sk_test_unit"), server.url, Governor()) as client:
                await client.page(CHARGES, "/v1/charges", {})
                client.api_base = "http://127.0.0.1:1"
                tries = 0

                def pause(number: int) -> float:
                    nonlocal tries
                    tries = number
                    if number == 8:
                        client.api_base = server.url
                    return 0.0

                monkeypatch.setattr("dagster_project.stripe_api.client._pause", pause)
                await client.page(CHARGES, "/v1/charges", {})
                return tries

    assert asyncio.run(run()) == 8


# ---- lists that never end ------------------------------------------------------------------------------------
@pytest.mark.parametrize("length", [1, 3])
def test_a_list_that_leads_back_is_noticed_after_one_round(stripe: FakeStripe, length: int) -> None:
    circle = [{"id": f"ch_{n}", "object": "charge", "created": NOW} for n in range(length)]
    after = {one["id"]: circle[(n + 1) % length] for n, one in enumerate(circle)}

    def hook(request: web.Request) -> web.StreamResponse:
        one = after.get(request.query.get("starting_after", ""), circle[0])
        return reply({"object": "list", "data": [one], "has_more": True, "url": "/v1/charges"})

    stripe.hook = hook

    async def run() -> None:
        async with StripeClient(Account("unit", "sk_test_unit"), stripe.url, Governor()) as client:
            async for _ in reading.pages(client, CHARGES, "/v1/charges", {}):
                pass

    with pytest.raises(StripeAnswerError, match=r"charges: /v1/charges goes round in circles .*request req_"):
        asyncio.run(run())
    assert stripe.requests["/v1/charges"] == length + 1


# ---- Stripe's clock ------------------------------------------------------------------------------------------
def told(clock: StripeClock, *dates: datetime | str | None) -> datetime:
    for date in dates:
        clock.tell(format_datetime(date.astimezone(UTC), usegmt=True) if isinstance(date, datetime) else date)
    return clock.now


SIMULATED = datetime(2031, 5, 1, 12, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture
def here() -> datetime:
    """This machine's time when the test runs: a time taken at collection is old by the time that a long suite comes."""
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(params=["here", "simulated"])
def start(request: pytest.FixtureRequest, here: datetime) -> datetime:
    return here if request.param == "here" else SIMULATED


def test_stripes_clock_is_followed_whatever_ours_says_and_never_runs_back(start: datetime) -> None:
    clock = StripeClock()
    assert told(clock, start) == start
    assert told(clock, start + 2 * SECOND, start + SECOND) == start + 2 * SECOND
    assert told(clock, None, "no date", "Mon, 99 Foo 2026 00:00:00 GMT") == start + 2 * SECOND


@pytest.mark.parametrize("wild", [40 * DAY, -40 * DAY, timedelta(hours=1), timedelta(hours=-1)])
def test_a_date_that_is_wild_moves_nothing(start: datetime, wild: timedelta) -> None:
    clock = StripeClock()
    told(clock, start)
    assert told(clock, start + wild, start + wild) == start
    assert told(clock, start + SECOND) == start + SECOND
    assert told(clock, start + wild, start - wild, start + wild, start - wild) == start + SECOND


def test_a_clock_that_was_moved_is_followed_once_three_answers_agree() -> None:
    clock = StripeClock()
    told(clock, SIMULATED)
    assert told(clock, SIMULATED + 30 * DAY, SIMULATED + 30 * DAY) == SIMULATED
    assert told(clock, SIMULATED + 30 * DAY) == SIMULATED + 30 * DAY
    assert told(clock, *[SIMULATED] * 3) == SIMULATED


@pytest.mark.parametrize("wild", [400 * DAY, -400 * DAY])
def test_when_the_first_date_is_wild_one_that_agrees_with_ours_is_believed(here: datetime, wild: timedelta) -> None:
    clock = StripeClock()
    assert told(clock, here + wild) == here + wild
    assert told(clock, here) == here


def test_a_client_goes_on_from_the_time_that_it_is_given(stripe: FakeStripe) -> None:
    async def run() -> datetime:
        given: Any = datetime.fromtimestamp(NOW, UTC)
        async with StripeClient(Account("unit", "sk_test_unit"), stripe.url, Governor(), clock=given) as client:
            stripe.now = NOW + 90 * 86_400
            await client.page(CHARGES, "/v1/charges", {})
            return client.clock

    assert asyncio.run(run()) == datetime.fromtimestamp(NOW, UTC)
