"""Whatever happens to a payment: what is kept and what is told fits Stripe's shapes and says exactly what changed."""

from __future__ import annotations

from typing import Any

import pytest
from billing_cases import DAY, misfits
from stripe._object_classes import get_object_class
from test_payments import Till
from test_sdk_shapes import strange
from test_world import restored, stated

from dagster_project.simulator.engine import test_methods
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http.server import Options, create_app
from tests.unit.simulator.conftest import Simulator, _Thread

# What changes without an event: https://docs.stripe.com/api/events/types has none for it.
SILENT = {
    "charge": {"disputed"},
    "payment_intent": {"payment_method", "payment_method_types", "application_fee_amount", "customer"},
    "setup_intent": {"payment_method", "payment_method_types"},
}


@pytest.fixture(scope="module")
def busy(tmp_path_factory) -> Any:
    """An account in which every test payment method was charged, refunded, answered for and set up."""
    store = Store(tmp_path_factory.mktemp("busy") / "state.sqlite")
    store.now = 1_794_744_000
    world = World(store)
    with _Thread(create_app(store, world, Options())) as url:
        till = Till(Simulator(url, store, world))
        fill(till)
        yield till
    store.close()


def attempt(call, *arguments, **more):
    """A refusal is an answer, too."""
    from stripe import StripeError

    try:
        return call(*arguments, **more)
    except StripeError:
        return None


def fill(till: Till) -> None:
    api = till.api
    customer = api.customers.create({"email": "ada@example.com"}).id
    tokens = [f"pm_card_{name}" for name in test_methods.CARDS]
    tokens += [f"pm_usBankAccount_{name}" for name in test_methods.BANKS]
    for place, token in enumerate(tokens):
        paid = attempt(till.pay, token, 10_000 + place, customer=customer)
        if paid and "Dispute" not in token:
            attempt(api.refunds.create, {"payment_intent": paid.id, "amount": 1_000})
        method = attempt(api.payment_methods.attach, token, {"customer": customer})
        if method and place % 4 == 0:
            attempt(api.setup_intents.create, {"customer": customer, "payment_method": method.id, "confirm": True})
            attempt(till.pay, method.id, 5_000, customer=customer, off_session=True)
    for token in ("pm_card_chargeDeclined", "pm_card_authenticationRequired"):
        setup = api.setup_intents.create({"customer": customer})
        attempt(api.setup_intents.confirm, setup.id, {"payment_method": token})
        api.setup_intents.cancel(setup.id)
    method = api.payment_methods.attach("pm_card_visa", {"customer": customer})
    api.payment_methods.update(method.id, {"billing_details": {"name": "Ada"}})
    api.payment_methods.detach(method.id)
    for part in (4_000, 10_000):
        held = till.pay(amount=10_000, capture_method="manual")
        api.payment_intents.capture(held.id, {"amount_to_capture": part})
    till.pay(capture_method="manual")
    api.payment_intents.cancel(till.pay(capture_method="manual").id)
    api.payment_intents.cancel(till.pay("pm_card_authenticationRequired").id)
    api.payment_intents.cancel(till.pay("pm_usBankAccount_processing").id)
    for _ in range(3):
        till.pay("pm_card_createDisputeInquiry")
    texts = ("winning_evidence", "losing_evidence", "escalate_inquiry_evidence", "It was delivered.")
    for case, text in zip(list(api.disputes.list({"limit": 100})), texts * 9, strict=False):
        api.disputes.update(case.id, {"evidence": {"uncategorized_text": text}})
    till.wait(8 * DAY)
    for charge in [row for row in api.charges.list({"limit": 100}) if row.id.startswith("py_") and row.paid]:
        email = {"instructions_email": "ada@example.com"}
        first = attempt(api.refunds.create, {"charge": charge.id, "amount": 100, **email})
        if first:
            api.refunds.cancel(first.id)
            attempt(api.refunds.create, {"charge": charge.id, "amount": 200, **email})
    till.wait(15 * DAY)
    till.wait(4 * DAY)


def kept(till: Till, kind: str) -> list[dict[str, Any]]:
    return till.account.store.all(kind)


def test_everything_that_is_kept_fits(busy):
    found = set()
    for kind in busy.account.store.counts():
        if kind != "event":
            for obj in kept(busy, kind):
                found |= {f"{kind}: {fault}" for fault in misfits(obj)}
                found |= strange(obj, get_object_class("V1", kind), kind)
    assert found == set()
    assert {"lost", "won", "warning_closed"} <= {case["status"] for case in kept(busy, "dispute")}
    assert {"succeeded", "failed", "canceled"} <= {refund["status"] for refund in kept(busy, "refund")}


def test_everything_that_is_told_fits_and_says_exactly_what_changed(busy):
    latest: dict[str, dict[str, Any]] = {}
    types, updates = set(), 0
    for event in kept(busy, "event"):
        now, previous = event["data"]["object"], event["data"].get("previous_attributes")
        before, latest[now["id"]] = latest.get(now["id"]), now
        types.add(event["type"])
        assert not misfits(now), event["type"]
        if before is None or previous is None or event["type"] == "charge.refund.updated":
            continue
        updates += 1
        quiet = SILENT.get(now["object"], set())
        changed = {name for name in now.keys() | before.keys() if now.get(name) != before.get(name)} - quiet
        previous = {name: value for name, value in previous.items() if name not in quiet}
        assert changed == previous.keys(), (event["type"], now["id"])
        assert stated(restored(now, previous)) == stated({name: before.get(name) for name in previous}), event["type"]
    assert updates > 100
    assert len([each for each in types if each.startswith(("charge", "payment", "refund", "setup", "radar"))]) >= 30


def test_an_update_that_is_told_shows_what_it_was(busy):
    updated = [event for event in kept(busy, "event") if event["type"].endswith(".updated")]
    assert all(event["data"].get("previous_attributes") for event in updated)


def test_the_balance_is_the_sum_of_its_rows_and_every_row_has_its_cause(busy):
    rows = kept(busy, "balance_transaction")
    assert all(row["net"] == row["amount"] - row["fee"] for row in rows)
    balance = busy.api.balance.retrieve()
    for part, status in ((balance.available, "available"), (balance.pending, "pending")):
        assert sum(each.amount for each in part) == sum(row["net"] for row in rows if row["status"] == status)
    sources = {row["id"] for kind in ("charge", "refund", "dispute") for row in kept(busy, kind)}
    assert all(row["source"] in sources for row in rows if row["type"] != "payout")
    for charge in kept(busy, "charge"):
        given = [row["amount"] for row in kept(busy, "refund") if row["charge"] == charge["id"]
                 and row["status"] not in ("failed", "canceled")]  # fmt: skip
        assert charge["amount_refunded"] == sum(given)
        assert charge["refunded"] == (charge["paid"] and charge["amount_refunded"] == charge["amount"])
