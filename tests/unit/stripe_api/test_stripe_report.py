"""What a synchronisation tells about itself: requests and 429s per object, ranges read, and what is unknown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from aiohttp import web
from fake_stripe import NOW, FakeStripe, refusal

from dagster_project.progress import Tally
from dagster_project.settings import Settings
from dagster_project.stripe_api.governor import Governor
from dagster_project.stripe_api.permissions import how_to_permit
from dagster_project.stripe_api.sync import sync
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.unknown import unknown


class Watcher:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.most: dict[str, int] = {}

    def start(self, name: str, total: int | None) -> None:
        self.tally.start(name, total)

    def advance(self, name: str, n: int, left: int | None = None) -> None:
        self.tally.advance(name, n, left)
        if left is not None:
            self.most[name] = max(self.most.get(name, 0), self.tally.works[name].of or 0)

    def done(self, name: str, message: str) -> None:
        self.tally.done(name)

    def watch(self, governor: Governor) -> None:
        self.tally.watch(governor)


@pytest.fixture
def business(stripe: FakeStripe) -> FakeStripe:
    """950 charges over 95 days, a refund, an event of a type that nobody knows."""
    stripe.put(
        "/v1/charges",
        *(
            {"id": f"ch_{n:05}", "object": "charge", "created": NOW - n * 8_640, "status": "succeeded", "amount": 1}
            for n in range(900)
        ),
    )
    stripe.put("/v1/refunds", {"id": "re_1", "object": "refund", "created": NOW - 500, "status": "succeeded"})
    stripe.announce("quantum_charge.entangled", {"id": "qc_1", "object": "quantum_charge"}, number=1)
    return stripe


def test_a_reading_is_followed_to_its_end_with_an_estimate_of_the_whole(
    business: FakeStripe, settings: Settings
) -> None:
    watcher = Watcher()
    report = sync(settings, Warehouse(settings.data_dir), progress=watcher)
    overall = watcher.tally.overall()
    assert overall.finished == overall.objects > 40
    assert watcher.tally.works["charges"].rows == 900
    assert 600 < watcher.most["charges"] < 1_400, "all are spread evenly over the time that is read"
    assert watcher.tally.active() == []
    assert overall.requests == report.requests == sum(business.requests.values())


def test_requests_and_429s_are_counted_per_object(business: FakeStripe, settings: Settings) -> None:
    refused = 0

    def sometimes(request: web.Request) -> web.Response | None:
        nonlocal refused
        if request.path == "/v1/charges" and refused < 2:
            refused += 1
            return refusal(429, "Slow down", **{"Stripe-Rate-Limited-Reason": "endpoint-rate"})
        return None

    business.hook = sometimes
    report = sync(settings, Warehouse(settings.data_dir))
    charges = report.objects["charges"]
    assert charges.requests == business.requests["/v1/charges"]
    assert dict(charges.refused) == {"endpoint-rate": 2}
    assert dict(report.refused) == {"endpoint-rate": 2}
    assert report.objects["refunds"].requests == 1 and not report.objects["refunds"].refused
    assert charges.read_from is not None and charges.read_until == datetime.fromtimestamp(NOW, UTC)
    assert charges.read_from < datetime.fromtimestamp(NOW - 89 * 86_400, UTC)
    assert 0 < charges.seconds <= report.seconds


def test_an_event_of_an_unknown_type_is_kept_counted_and_named(business: FakeStripe, settings: Settings) -> None:
    warehouse = Warehouse(settings.data_dir)
    report = sync(settings, warehouse)
    assert report.problems == []
    with warehouse.connect(read_only=True) as con:
        [one] = unknown(con)
    assert (one.object, one.what, one.rows, one.example) == (
        "events",
        "type quantum_charge.entangled",
        1,
        "evt_00000001",
    )


def test_a_field_that_the_pinned_version_does_not_know_is_kept_and_named(
    stripe: FakeStripe, settings: Settings
) -> None:
    stripe.put("/v1/refunds", {"id": "re_1", "object": "refund", "created": NOW - 500, "spin": "up"})
    warehouse = Warehouse(settings.data_dir)
    assert sync(settings, warehouse).problems == []
    with warehouse.connect(read_only=True) as con:
        [one] = unknown(con)
        assert con.execute("select _payload ->> '$.spin' from stripe.refunds").fetchone() == ("up",)
    assert (one.object, one.what, one.rows, one.example) == ("refunds", "field spin", 1, "re_1")


def test_a_missing_permission_is_named_in_the_words_of_the_dashboard(business: FakeStripe, settings: Settings) -> None:
    text = (
        "The provided key does not have the required permissions. Having the 'rak_charge_read' permission would help."
    )
    business.hook = lambda request: refusal(403, text) if request.path == "/v1/charges" else None
    report = sync(settings, Warehouse(settings.data_dir))
    assert report.objects["charges"].state == "not_permitted"
    assert how_to_permit(report.objects["charges"].message) == (
        "In Stripe's Dashboard (Developers, API keys) edit the key and set Charges and Refunds to Read."
    )
    assert report.objects["refunds"].received == 1
    assert how_to_permit("'rak_payment_intent_read'").endswith("set Payment intents to Read.")
