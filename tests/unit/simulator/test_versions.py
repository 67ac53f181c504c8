"""Events in older versions: the shape that Stripe had then, and back again by the extractor's normaliser."""

from __future__ import annotations

import contextlib
import json
import shutil
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dagster_project.errors import UsageError
from dagster_project.simulator.engine.seed import seed
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.versions import PINNED, VERSIONS, Renderer, previous_attributes, restored
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http.server import _prepared, serve
from dagster_project.warehouse.normalise import pinned

Object = dict[str, Any]


@pytest.fixture(scope="module")
def world(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(Store(Path(shutil.copy(history, tmp_path_factory.mktemp("old")))))
    world.advance(world.now + 10 * 86_400)
    yield world
    world.store.close()


def rendered(world: World, version: str, kind: str) -> list[tuple[Object, Object]]:
    """(pinned, old) of every object of a kind."""
    pairs = [(obj, Renderer(world, version).render(obj)) for obj in world.store.all(kind)]
    assert pairs
    return pairs


def normalised(objects: list[Object]) -> list[Object]:
    """What the extractor's normaliser makes of event payloads."""
    con = duckdb.connect()
    con.execute("create table carried (n integer, json json)")
    con.executemany("insert into carried values (?, ?)", [(n, json.dumps(each)) for n, each in enumerate(objects)])
    rows = con.execute(f"select json from ({pinned('select * from carried')}) order by n").fetchall()
    return [json.loads(text) for (text,) in rows]


# ---- the old shapes -----------------------------------------------------------------------------------------
def test_the_pinned_version_is_rendered_as_it_is(world):
    for kind in world.store.counts():
        for obj, same in rendered(world, PINNED, kind)[:20]:
            assert same == obj


def test_before_basil_a_subscription_has_its_period_and_its_discount(world):
    discounted = 0
    for new, old in rendered(world, "2024-06-20", "subscription"):
        items = new["items"]["data"]
        assert old["current_period_end"] == min(item["current_period_end"] for item in items)
        assert old["current_period_start"] in {item["current_period_start"] for item in items}
        assert not any("current_period_start" in item for item in old["items"]["data"])
        assert {"billing_mode", "billing_schedules", "customer_account"}.isdisjoint(old)
        if new["discounts"]:
            discounted += 1
            assert old["discount"]["id"] == new["discounts"][0] and "source" not in old["discount"]
            coupon = world.the(new["discounts"][0], "discount")["source"]["coupon"]
            assert (old["discount"]["coupon"]["object"], old["discount"]["coupon"]["id"]) == ("coupon", coupon)
        else:
            assert old["discount"] is None
    assert discounted


def test_before_basil_an_invoice_says_its_subscription_its_charge_and_its_tax(world):
    paid = taxed = 0
    for new, old in rendered(world, "2024-06-20", "invoice"):
        details = (new["parent"] or {}).get("subscription_details") or {}
        assert old["subscription"] == details.get("subscription")
        assert old["paid"] == (new["status"] == "paid")
        assert {"parent", "total_taxes", "amount_overpaid"}.isdisjoint(old)
        tax = sum(part["amount"] for part in new["total_taxes"])
        assert (old["tax"] or 0) == tax == sum(part["amount"] for part in old["total_tax_amounts"])
        taxed += bool(tax)
        if new["amount_paid"]:
            paid += 1
            charge = world.the(old["charge"], "charge")
            assert (charge["status"], charge["payment_intent"]) == ("succeeded", old["payment_intent"])
            assert Renderer(world, "2024-06-20").render(charge)["invoice"] == new["id"]
        for line, was in zip(new["lines"]["data"], old["lines"]["data"], strict=True):
            assert was["price"]["id"] == line["pricing"]["price_details"]["price"]
            details = line["parent"][line["parent"]["type"]]
            assert was["type"] == ("invoiceitem" if details["invoice_item"] else "subscription")
            assert (was["proration"], was.get("invoice_item")) == (details["proration"], details["invoice_item"])
            assert was.get("subscription_item") == details.get("subscription_item")
            assert {"parent", "pricing", "taxes", "quantity_decimal"}.isdisjoint(was)
    assert paid and taxed


def test_a_change_belongs_to_one_release(world):
    """Each field moved in the release that moved it, and in no other."""
    [(_, clover), *_] = rendered(world, "2025-09-30.clover", "discount")
    [(_, basil), *_] = rendered(world, "2025-08-27.basil", "discount")
    assert "source" in clover and "coupon" not in clover
    assert "source" not in basil and basil["coupon"]["object"] == "coupon"
    intents = {version: rendered(world, version, "payment_intent")[0][1] for version in VERSIONS}
    assert {v for v, each in intents.items() if "invoice" in each} == {v for v in VERSIONS if v < "2025-03-31"}
    assert {v for v, each in intents.items() if "charges" in each} == {"2020-08-27", "2022-08-01"}
    assert {v for v, each in intents.items() if "allowed_payment_method_types" in each} == set(VERSIONS[-2:])


def test_before_2022_11_15_charges_hold_their_refunds_and_intents_their_charges(world):
    refunded = 0
    for new, old in rendered(world, "2022-08-01", "charge"):
        refunds = [row for row in world.store.all("refund") if row["charge"] == new["id"]]
        assert [row["id"] for row in old["refunds"]["data"]] == [row["id"] for row in reversed(refunds)]
        refunded += bool(refunds)
    assert refunded
    for new, old in rendered(world, "2022-08-01", "payment_intent"):
        if new["latest_charge"]:
            assert old["charges"]["data"][0]["id"] == new["latest_charge"]
        assert old["charges"]["total_count"] == len(old["charges"]["data"])


def test_a_removed_coupon_is_still_part_of_its_discounts(world):
    with world.tentatively():
        discount = world.store.all("discount")[0]
        coupon = discount["source"]["coupon"]
        world.store.delete(coupon, None, kind="coupon")
        assert Renderer(world, "2024-06-20").render(discount)["coupon"]["id"] == coupon


# ---- previous attributes --------------------------------------------------------------------------------------
def test_previous_attributes_have_the_old_shape_too(world):
    sub = next(sub for sub in world.store.all("subscription") if len(sub["items"]["data"]) == 1)
    item = sub["items"]["data"][0]
    before = [item | {"current_period_end": item["current_period_start"], "current_period_start": 1}]
    told = Renderer(world, "2022-11-15").data(sub, {"items": {"data": before}})
    assert told["previous_attributes"] == {
        "current_period_start": 1,
        "current_period_end": item["current_period_start"],
    }
    invoice = next(each for each in world.store.all("invoice") if each["status"] == "paid" and each["amount_paid"])
    was = {"status": "open", "attempt_count": 0, "amount_paid": 0, "status_transitions": {"paid_at": None}}
    told = Renderer(world, "2022-11-15").data(invoice, was)
    assert told["previous_attributes"] == was | {"paid": False, "charge": None, "payment_intent": None}


def test_what_was_and_what_changed_are_each_others_inverse():
    old = {"a": 1, "b": {"x": 1, "y": [1]}, "c": None}
    new = {"a": 1, "b": {"x": 2, "y": [1, 2], "z": 3}, "c": {"d": 1}}
    previous = previous_attributes(old, new)
    assert previous == {"b": {"x": 1, "y": [1], "z": None}, "c": None}
    assert restored(new, previous) == old | {"b": old["b"] | {"z": None}}


# ---- and back -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", ["2020-08-27", "2022-11-15", "2024-06-20", "2025-08-27.basil", PINNED])
def test_the_normaliser_gives_the_pinned_facts_back(world, version):
    subscriptions = rendered(world, version, "subscription")
    for (new, _), back in zip(subscriptions, normalised([old for _, old in subscriptions]), strict=True):
        assert back["discounts"] == new["discounts"] and "current_period_end" not in back
        ends = {item["id"]: item["current_period_end"] for item in new["items"]["data"]}
        if len(set(ends.values())) == 1:
            assert {item["id"]: item["current_period_end"] for item in back["items"]["data"]} == ends
    invoices = rendered(world, version, "invoice")
    for (new, _), back in zip(invoices, normalised([old for _, old in invoices]), strict=True):
        details = (new["parent"] or {}).get("subscription_details") or {}
        found = ((back.get("parent") or {}).get("subscription_details") or {}).get("subscription")
        assert found == details.get("subscription")
        assert back["total_taxes"] == new["total_taxes"] and "total_tax_amounts" not in back
    codes = rendered(world, version, "promotion_code")
    for (new, _), back in zip(codes, normalised([old for _, old in codes]), strict=True):
        assert back["promotion"] == new["promotion"] and "coupon" not in back


# ---- events -----------------------------------------------------------------------------------------------------
def test_an_account_of_an_older_version_tells_its_events_in_that_version(business):
    client = business.client()
    assert business.control("status")["api_version"] == PINNED
    newest = client.v1.events.list({"limit": 1}).data[0].id
    business.control("api_version", {"api_version": "2022-11-15"})
    [subscription] = client.v1.subscriptions.list({"limit": 1}).data
    client.v1.subscriptions.update(subscription.id, {"metadata": {"team": "blue"}})
    [event] = client.v1.events.list({"ending_before": newest}).data
    assert event.api_version == "2022-11-15"
    told = event.data.object
    assert told["current_period_end"] == subscription["items"]["data"][0]["current_period_end"]
    assert "current_period_end" not in told["items"]["data"][0]
    assert event.data.previous_attributes.to_dict() == {"metadata": {"team": None}}
    # Reads stay at the version of the request, and the events of before as they were.
    assert "current_period_end" not in client.v1.subscriptions.retrieve(subscription.id)
    assert client.v1.events.retrieve(newest).api_version == PINNED


def test_an_unknown_version_is_refused(account):
    with pytest.raises(urllib.error.HTTPError) as refused:
        account.control("api_version", {"api_version": "2022-11-16"})
    with refused.value as answer:
        assert answer.code == 400


def test_a_new_business_has_its_events_in_the_version_that_it_is_made_with(tmp_path):
    folder = tmp_path / "simulator"
    folder.mkdir()
    asked = {"customers": 10, "months": 1}
    with contextlib.closing(_prepared(folder, asked, "2020-08-27", reset=False)) as store:
        assert {event["api_version"] for event in store.all("event")} == {"2020-08-27"}
        told = [event["data"]["object"] for event in store.all("event") if event["type"] == "charge.succeeded"]
        assert told and all("refunds" in charge and charge["invoice"] for charge in told)
    with contextlib.closing(_prepared(folder, asked, None, reset=False)) as store:
        assert World(store).api_version == "2020-08-27"
    with contextlib.closing(_prepared(folder, asked, PINNED, reset=False)) as store:
        assert World(store).api_version == PINNED


def test_a_version_that_is_not_simulated_cannot_be_asked_for(tmp_path):
    with pytest.raises(UsageError, match="2019-12-03"):
        serve(tmp_path, api_version="2019-12-03")


def test_before_basil_an_invoice_says_that_it_was_paid_elsewhere(account):
    client = account.client()
    customer = client.v1.customers.create({"name": "Ada"})
    client.v1.invoice_items.create({"customer": customer.id, "amount": 900, "currency": "usd"})
    params = {"customer": customer.id, "collection_method": "send_invoice", "days_until_due": 30}
    invoice = client.v1.invoices.create({**params, "pending_invoice_items_behavior": "include"})
    account.control("api_version", {"api_version": "2024-06-20"})
    client.v1.invoices.finalize_invoice(invoice.id)
    client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    told = client.v1.events.list({"type": "invoice.paid"}).data[0].data.to_dict()
    assert (told["object"]["paid"], told["object"]["paid_out_of_band"], told["object"]["charge"]) == (True, True, None)
    assert (told["previous_attributes"]["paid"], told["previous_attributes"]["paid_out_of_band"]) == (False, False)


def test_before_basil_a_charge_names_its_dispute(business):
    business.control("api_version", {"api_version": "2024-06-20"})
    [charge] = business.client().v1.charges.list({"limit": 1}).data
    dispute = business.control("dispute", {"charge": charge.id})["id"]
    current = business.world.the(charge.id, "charge")
    told = Renderer(business.world, "2024-06-20").render(current)
    assert (told["disputed"], told["dispute"], told["order"], told["destination"]) == (True, dispute, None, None)


# What a version does not say at all, so that nobody can give it back.
LOST = {
    "customer_account", "allowed_payment_method_types", "excluded_payment_method_types", "managed_payments",
    "payment_record", "billing_schedules", "billing_mode", "source", "total_pretax_credit_amounts", "amount_overpaid",
    "pause_schedules",
}  # fmt: skip
# What these hold is in another shape all through; see the tests above.
DEEPER = {("subscription", "items"), ("invoice", "lines"), ("invoice", "parent"), ("subscription_schedule", "phases")}


@pytest.mark.parametrize("version", ["2020-08-27", "2024-06-20", "2025-08-27.basil"])
def test_two_months_told_in_an_old_version_say_the_same_facts(tmp_path, version):
    told: dict[str, list[Object]] = {}
    for each in (PINNED, version):
        with contextlib.closing(Store(tmp_path / f"{each}.sqlite")) as store:
            store.meta["api_version"] = each
            seed(World(store), seed=7, customers=12, months=2, progress=lambda line: None)
            told[each] = store.all("event")
    assert [event["id"] for event in told[version]] == [event["id"] for event in told[PINNED]]
    back = normalised([event["data"]["object"] for event in told[version]])
    wrong = set()
    for event, obj in zip(told[PINNED], back, strict=True):
        new = event["data"]["object"]
        wrong |= {
            (new["object"], name)
            for name in new.keys() - LOST
            if (new["object"], name) not in DEEPER and (name not in obj or obj[name] != new[name])
        }
    assert wrong == set()
    assert len(back) > 100
