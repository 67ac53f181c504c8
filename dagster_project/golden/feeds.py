"""Landing the objects of a case as extraction would have: its history as events, or as readings of each version."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from dagster_project.golden.format import Json
from dagster_project.golden.stripe_objects import Facts, unix
from dagster_project.stripe_api.catalog import API_VERSION
from dagster_project.stripe_api.landing import Batch, Landing

FEEDS = ("events", "versions")


def land(landing: Landing, facts: Facts, feed: str) -> list[Batch]:
    """The files of one case.

    `events`: `customer.subscription.*` with the object at every state, and one reading at the end; `versions`: a
    reading at every state. Everything else is read once, at the end.
    """
    run = facts.run
    batches: list[Batch] = []

    def write(object: str, livemode: bool, source: str, at: datetime, objects: Iterable[Json]) -> None:
        lines = [msgspec.json.encode({**one, "livemode": livemode}) for one in objects]
        if lines:
            batches.append(
                landing.write(
                    object=object, account_id=run.account_id, livemode=livemode, source=source, observed_at=at,
                    lines=lines, requests=[{"path": f"/v1/{object}", "rows": len(lines)}], api_version=API_VERSION,
                )
            )  # fmt: skip

    end = run.until
    for name, objects in (
        ("products", facts.products()), ("prices", facts.prices()), ("coupons", facts.coupons()),
        ("tax_rates", facts.tax_rates()), ("customers", facts.customers()), ("invoices", facts.invoices()),
    ):  # fmt: skip
        write(name, True, "list", end, objects)
    readings: dict[tuple[bool, datetime], list[Json]] = defaultdict(list)
    events: dict[bool, list[Json]] = defaultdict(list)
    for customer, subscription, _ in facts.subscriptions():
        livemode = subscription.get("livemode", True)
        states = subscription["timeline"]
        for number, state in enumerate(states):
            at = _instant(state["at"])
            if feed == "versions":
                readings[livemode, at].append(facts.state(customer, subscription, state))
                continue
            verb = "deleted" if state["status"] == "canceled" else "updated" if number else "created"
            events[livemode].append(
                {
                    "id": f"evt_{run.account_id}_{subscription['id']}_{number}", "object": "event",
                    "type": f"customer.subscription.{verb}", "created": unix(state["at"]), "api_version": API_VERSION,
                    "data": {"object": facts.state(customer, subscription, state, expanded=False)},
                }
            )  # fmt: skip
        if feed == "events":
            readings[livemode, end].append(facts.state(customer, subscription, states[-1]))
    for livemode, told in events.items():
        write("events", livemode, "event", end, sorted(told, key=lambda event: event["created"], reverse=True))
    for (livemode, at), seen in sorted(readings.items(), key=lambda reading: reading[0]):
        write("subscriptions", livemode, "list", at, seen)
    return batches


def _instant(moment: str) -> datetime:
    return datetime.fromtimestamp(unix(moment) or 0, UTC)
