"""The made-up business keeps its books: every number is worked out again here from the objects alone."""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dagster_project.simulator.engine import business
from dagster_project.simulator.engine.payouts import balance_object
from dagster_project.simulator.engine.seed import seed
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World

Object = dict[str, Any]
EVERYTHING = 10**6
# Fields that change without an event, as on Stripe's side; every other change must be told.
SILENT = {"charge": {"disputed"}, "coupon": {"times_redeemed"}, "invoiceitem": {"invoice"},
          "payment_intent": {"payment_method"}}  # fmt: skip


def make(path: Path, customers: int = 120, months: int = 8) -> World:
    world = World(Store(path))
    seed(world, seed=7, customers=customers, months=months, progress=lambda line: None)
    return world


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seeded") / "state.sqlite"
    make(path).store.close()
    return path


@pytest.fixture(scope="module")
def world(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The seeded business 25 days later, so that what was open has moved."""
    world = World(Store(Path(shutil.copy(seeded, tmp_path_factory.mktemp("world")))))
    world.advance(world.now + 25 * business.DAY)
    yield world
    world.store.close()


def rows(world: World, kind: str) -> list[Object]:
    found = world.store.all(kind)
    assert found, f"the business has no {kind}"
    return found


def by(field: str, found: list[Object]) -> dict[str, list[Object]]:
    grouped: dict[str, list[Object]] = defaultdict(list)
    for row in found:
        grouped[row[field]].append(row)
    return grouped


def digest(world: World) -> str:
    """Of every object as it is served, of what is planned, and of the counters."""
    hashed = hashlib.sha256()
    for kind in world.store.counts():
        for body in world.store.page(kind, limit=EVERYTHING)[0]:
            hashed.update(body)
    hashed.update(repr(sorted(world.store.meta["due"])).encode())
    hashed.update(repr(sorted(world.store.meta["numbers"].items())).encode())
    return hashed.hexdigest()


# ---- the same again -----------------------------------------------------------------------------------------
def test_the_same_seed_makes_the_same_business_byte_for_byte(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one.sqlite", 30, 4), make(tmp_path / "two.sqlite", 30, 4)
    assert digest(one) == digest(two)
    assert one.store.count("invoice") > 40


def test_another_seed_makes_another_business(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one.sqlite", 10, 2), World(Store(tmp_path / "two.sqlite"))
    seed(two, seed=8, customers=10, months=2, progress=lambda line: None)
    assert digest(one) != digest(two)


def test_many_small_steps_and_a_restart_give_what_one_step_gives(seeded: Path, tmp_path: Path) -> None:
    whole = World(Store(Path(shutil.copy(seeded, tmp_path / "whole.sqlite"))))
    target = whole.now + 12 * business.DAY
    whole.advance(target)
    path = Path(shutil.copy(seeded, tmp_path / "steps.sqlite"))
    steps = World(Store(path))
    for days in (0.3, 2, 5.5):
        steps.advance(business.CLOCK + int(days * business.DAY))
    steps.store.close()
    steps = World(Store(path))
    steps.advance(target)
    assert digest(steps) == digest(whole)


def test_the_clock_stands_at_the_end_of_the_history_and_never_goes_back(seeded: Path, tmp_path: Path) -> None:
    world = World(Store(Path(shutil.copy(seeded, tmp_path / "state.sqlite"))))
    assert world.now == business.CLOCK
    with pytest.raises(ValueError, match="forward"):
        world.advance(world.now - 1)
    assert world.now == business.CLOCK


# ---- the balance --------------------------------------------------------------------------------------------
def test_the_balance_is_the_sum_of_its_transactions(world: World) -> None:
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows(world, "balance_transaction"):
        assert row["net"] == row["amount"] - row["fee"]
        assert row["fee"] == sum(part["amount"] for part in row["fee_details"])
        if row["status"] == "available":
            assert row["available_on"] <= world.now
        else:
            assert row["available_on"] > world.now - business.DAY, "pending only until the day begins"
        sums[row["status"], row["currency"]] += row["net"]
    balance = balance_object(world)
    assert {part["currency"] for part in balance["available"]} == {"usd", "eur", "jpy"}
    for status in ("available", "pending"):
        assert {part["currency"]: part["amount"] for part in balance[status]} == {
            currency: sums[status, currency] for currency in ("usd", "eur", "jpy")
        }


def test_an_automatic_payout_is_exactly_the_net_of_its_transactions(world: World) -> None:
    seen: set[str] = set()
    payouts = rows(world, "payout")
    assert {payout["currency"] for payout in payouts} == {"usd", "eur", "jpy"}
    assert any(payout["reconciliation_status"] == "completed" for payout in payouts)
    for payout in payouts:
        bodies, more = world.store.page("balance_transaction", where={"payout": payout["id"]}, limit=EVERYTHING)
        ids = [body.split(b'"id":"', 1)[1].split(b'"', 1)[0].decode() for body in bodies]
        batch = [world.the(id) for id in ids if id != payout["balance_transaction"]]
        assert not more and batch and len(ids) == len(batch) + 1
        assert sum(row["net"] for row in batch) == payout["amount"]
        assert {row["currency"] for row in batch} == {payout["currency"]}
        assert all(row["status"] == "available" for row in batch)
        assert seen.isdisjoint(ids), "a transaction is paid out once"
        seen.update(ids)
        own = world.the(payout["balance_transaction"])
        assert (own["type"], own["net"], own["source"]) == ("payout", -payout["amount"], payout["id"])
        assert payout["arrival_date"] % 86_400 == 0 and (payout["arrival_date"] // 86_400 + 3) % 7 < 5, "a working day"
        if payout["status"] == "failed":
            back = world.the(payout["failure_balance_transaction"])
            assert (back["type"], back["net"]) == ("payout_failure", payout["amount"])


def test_a_refund_and_a_dispute_take_from_the_balance_what_they_say(world: World) -> None:
    given: dict[str, int] = defaultdict(int)
    for refund in rows(world, "refund"):
        assert world.the(refund["balance_transaction"])["net"] == -refund["amount"]
        if refund["status"] == "succeeded":
            given[refund["charge"]] += refund["amount"]
    for charge in rows(world, "charge"):
        assert charge["amount_refunded"] == given.get(charge["id"], 0)
        assert charge["refunded"] == (charge["amount_refunded"] == charge["amount"] and charge["paid"])
        if charge["paid"]:
            row = world.the(charge["balance_transaction"])
            assert (row["amount"], row["source"]) == (charge["amount"], charge["id"])
        else:
            assert charge["balance_transaction"] is None and charge["failure_code"]
    for dispute in rows(world, "dispute"):
        assert world.the(dispute["charge"])["disputed"]
        moved = sum(row["amount"] for row in dispute["balance_transactions"])
        untouched = dispute["status"] == "won" or dispute["status"].startswith("warning_")
        assert moved == (0 if untouched else -dispute["amount"])


# ---- invoices -----------------------------------------------------------------------------------------------
def test_an_invoice_is_its_lines_less_discounts_plus_tax(world: World) -> None:
    taxed = discounted = 0
    for invoice in rows(world, "invoice"):
        ids = [line["id"] for line in invoice["lines"]["data"]]
        bodies, _ = world.store.page("line_item", parent=invoice["id"], limit=EVERYTHING)
        lines = [world.the(body.split(b'"id":"', 1)[1].split(b'"', 1)[0].decode()) for body in bodies]
        lines.reverse()  # the list of the lines is in the order in which they were added
        assert [line["id"] for line in lines][:10] == ids and invoice["lines"]["has_more"] == (len(lines) > 10)
        assert all(line["invoice"] == invoice["id"] for line in lines)
        off = sum(part["amount"] for line in lines for part in line["discount_amounts"])
        tax = sum(part["amount"] for line in lines for part in line["taxes"])
        assert invoice["subtotal"] == sum(line["amount"] for line in lines)
        assert off == sum(part["amount"] for part in invoice["total_discount_amounts"])
        assert tax == sum(part["amount"] for part in invoice["total_taxes"])
        assert invoice["total"] == invoice["subtotal"] - off + tax
        assert invoice["total_excluding_tax"] == invoice["subtotal"] - off
        taxed += bool(tax)
        discounted += bool(off)
    assert taxed and discounted


def test_a_paid_invoice_was_paid_by_its_payments(world: World) -> None:
    payments = by("invoice", rows(world, "invoice_payment"))
    statuses = set()
    for invoice in rows(world, "invoice"):
        statuses.add(invoice["status"])
        paid = [payment for payment in payments.get(invoice["id"], []) if payment["status"] == "paid"]
        assert invoice["amount_paid"] == sum(payment["amount_paid"] for payment in paid)
        assert invoice["amount_remaining"] == invoice["amount_due"] - invoice["amount_paid"]
        assert (invoice["status_transitions"]["paid_at"] is not None) == (invoice["status"] == "paid")
        if invoice["status"] == "paid":
            assert invoice["amount_remaining"] == 0
        for payment in paid:
            intent = world.the(payment["payment"]["payment_intent"])
            charge = world.the(intent["latest_charge"])
            assert intent["amount_received"] == charge["amount_captured"] == payment["amount_paid"]
        if invoice["status"] != "draft" and invoice["total"] > 0:
            assert invoice["amount_due"] == max(
                0, invoice["total"] + invoice["starting_balance"] - invoice["ending_balance"]
            )
    assert {"paid", "uncollectible"} <= statuses


def test_the_customer_balance_is_the_sum_of_its_transactions(world: World) -> None:
    moved = by("customer", rows(world, "customer_balance_transaction"))
    for customer in rows(world, "customer"):
        mine = moved.get(customer["id"], [])
        assert customer["balance"] == sum(row["amount"] for row in mine)
        assert [row["ending_balance"] for row in mine] == [
            sum(row["amount"] for row in mine[: place + 1]) for place in range(len(mine))
        ]


# ---- subscriptions ------------------------------------------------------------------------------------------
def test_a_running_subscription_is_inside_its_periods_and_was_billed_for_each(world: World) -> None:
    invoices: dict[str, list[Object]] = defaultdict(list)
    for invoice in rows(world, "invoice"):
        if details := (invoice["parent"] or {}).get("subscription_details"):
            invoices[details["subscription"]].append(invoice)
    statuses = set()
    for sub in rows(world, "subscription"):
        statuses.add(sub["status"])
        items = [world.the(item["id"], "subscription_item") for item in sub["items"]["data"]]
        assert items == sub["items"]["data"], "the embedded items are the items"
        if sub["status"] == "canceled":
            assert sub["start_date"] <= sub["ended_at"] <= world.now and sub["canceled_at"] <= sub["ended_at"]
            continue
        for item in items:
            assert item["current_period_start"] <= world.now < item["current_period_end"]
        billed = [invoice for invoice in invoices[sub["id"]] if invoice["billing_reason"].startswith("subscription_c")]
        assert billed[0]["billing_reason"] == "subscription_create"
        assert sub["latest_invoice"] == invoices[sub["id"]][-1]["id"]
        starts = {line["period"]["start"] for line in billed[-1]["lines"]["data"]}
        assert min(item["current_period_start"] for item in items) in starts | {billed[-1]["created"]}
    assert {"active", "trialing", "canceled"} <= statuses


def test_the_end_of_the_month_is_an_anchor_too() -> None:
    from datetime import UTC, datetime

    from dagster_project.simulator.engine.subscriptions import after

    anchor = int(datetime(2026, 1, 31, 9, tzinfo=UTC).timestamp())
    edges, at = [], anchor
    for _ in range(4):
        at = after(at, "month", 1, anchor)
        edges.append(f"{datetime.fromtimestamp(at, UTC):%m-%d %H}")
    assert edges == ["02-28 09", "03-31 09", "04-30 09", "05-31 09"]


# ---- events -------------------------------------------------------------------------------------------------
def test_events_are_kept_for_thirty_days(world: World) -> None:
    created = [event["created"] for event in rows(world, "event")]
    assert min(created) >= world.now - business.EVENT_RETENTION
    assert max(created) > world.now - business.DAY


def restored(now: Object, previous: Object) -> Object:
    """What the changed fields were, put together from what they are and what the event says they were."""
    return {
        name: {**now[name], **restored(now[name], value)} if isinstance(value, dict) and now.get(name) else value
        for name, value in previous.items()
    }


def stated(value: Any) -> Any:
    """Without nulls, which in previous attributes also say that there was no such key."""
    if not isinstance(value, dict):
        return value
    return {name: stated(each) for name, each in value.items() if each is not None}


def test_an_event_tells_exactly_what_changed(world: World) -> None:
    latest: dict[str, Object] = {}
    updates = 0
    for event in rows(world, "event"):
        now = event["data"]["object"]
        previous = event["data"].get("previous_attributes")
        before = latest.get(now["id"])
        latest[now["id"]] = now
        if before is None or event["type"] == "charge.refund.updated":  # tells again what refund.updated told
            continue
        quiet = SILENT.get(now["object"], set())
        changed = {name for name in now.keys() | before.keys() if now.get(name) != before.get(name)} - quiet
        if previous is None:
            assert not changed or event["type"].endswith((".deleted", ".created")), (event["type"], changed)
            continue
        updates += 1
        previous = {name: value for name, value in previous.items() if name not in quiet}
        assert changed == previous.keys(), event["type"]
        was = {name: before.get(name) for name in previous}
        assert stated(restored(now, previous)) == stated(was), event["type"]
    assert updates > 100


def test_the_last_event_of_an_object_shows_it_as_it_is(world: World) -> None:
    latest = {event["data"]["object"]["id"]: event for event in rows(world, "event")}
    for id, event in latest.items():
        told = event["data"]["object"]
        current = world.the(id, told["object"])
        if event["type"] == "customer.deleted":
            assert current == {"id": id, "object": "customer", "deleted": True}
            continue
        quiet = SILENT.get(told["object"], set())
        assert {name for name in current if current[name] != told.get(name)} <= quiet, (told["object"], id)


def test_a_deleted_customer_is_told_and_leaves_the_list_but_not_the_invoices(seeded: Path, tmp_path: Path) -> None:
    world = World(Store(Path(shutil.copy(seeded, tmp_path / "state.sqlite"))))
    for _ in range(18):
        world.advance(world.now + 20 * business.DAY)
        gone = {e["data"]["object"]["id"] for e in rows(world, "event") if e["type"] == "customer.deleted"}
        if gone:
            break
    assert gone, "no customer was deleted in a year"
    assert gone.isdisjoint(customer["id"] for customer in rows(world, "customer"))
    assert gone <= {invoice["customer"] for invoice in rows(world, "invoice")}
    running = {sub["customer"] for sub in rows(world, "subscription") if sub["status"] in ("active", "past_due")}
    assert gone.isdisjoint(running)


def test_what_stripe_keeps_silent_about_has_no_event(world: World) -> None:
    told = {event["data"]["object"]["object"] for event in rows(world, "event")}
    silent = {"balance_transaction", "customer_balance_transaction", "subscription_item", "line_item"}
    assert told.isdisjoint(silent)
    assert {"invoice", "charge", "customer", "subscription", "payment_intent", "payout", "dispute"} <= told


def test_the_first_simulated_day_brings_disputes_and_changed_invoices(seeded: Path, tmp_path: Path) -> None:
    world = World(Store(Path(shutil.copy(seeded, tmp_path / "state.sqlite"))))
    world.advance(world.now + business.DAY)
    types = [world.the(id, "event")["type"] for id in world.new_events]
    assert "charge.dispute.created" in types
    assert types.count("invoice.finalized") >= 1 and types.count("invoice.paid") >= 1
