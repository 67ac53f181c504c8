"""Objects of which a small business has only a few, so that every list has something to show."""

from __future__ import annotations

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.disputes import dispute_opens
from dagster_project.simulator.engine.payouts import book
from dagster_project.simulator.engine.versions import PINNED
from dagster_project.simulator.engine.world import World


def rare_objects(world: World) -> None:
    """One or two of each, at the end of the history; and charges that will be disputed on the day after."""
    store = world.store
    if not world.business.plans:
        return
    customer = store.all("customer")[-1]
    plan = list(world.business.plans)[1]
    price = store.meta["prices"][f"{plan}/{customer['currency']}/month"]
    charges = [row for row in store.all("charge")[-200:] if row["paid"] and not row["disputed"]]
    quote = world.add(
        "quote", "qt", customer=customer["id"], currency=customer["currency"], amount_subtotal=4900,
        amount_total=4900, status="open", expires_at=world.now + 30 * b.DAY, number="QT-0001-1", metadata={},
        discounts=[], default_tax_rates=[],
    )  # fmt: skip
    world.emit("quote.created", quote)
    link = world.add(
        "payment_link", "plink", active=True, currency=customer["currency"],
        url="https://buy.example.com/team", metadata={},
    )  # fmt: skip
    world.emit("payment_link.created", link)
    session = world.add(
        "checkout.session", "cs_live", amount_subtotal=4900, amount_total=4900, currency=customer["currency"],
        customer=customer["id"], mode="subscription", status="open", payment_status="unpaid",
        payment_method_types=["card"], metadata={}, expires_at=world.now + b.DAY,
        success_url="https://example.com/thanks",
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
    )  # fmt: skip
    item = shapes.new(
        "item", world.id("li"), amount_subtotal=4900, amount_total=4900, currency=customer["currency"],
        description=plan, quantity=1, price=store.get(price, "price"),
    )  # fmt: skip
    store.insert(item, parent=session["id"])
    grant = world.add(
        "billing.credit_grant", "credgr", customer=customer["id"], category="promotional",
        name="Launch credit", updated=world.now, metadata={}, priority=50,
        amount={"monetary": {"currency": customer["currency"], "value": 1000}, "type": "monetary"},
        applicability_config={"scope": {"price_type": "metered"}},
    )  # fmt: skip
    world.emit("billing.credit_grant.created", grant)
    for back, at in ((3, world.now + b.HOUR // 2), (5, world.now + 6 * b.HOUR), (7, world.now + 9 * b.HOUR)):
        if len(charges) > back:  # so that the first simulated day brings disputes with certainty
            world.later(at, dispute_opens, charges[-back]["id"])
    if len(charges) >= 2:
        review = world.add(
            "review", "prv", charge=charges[-1]["id"], payment_intent=charges[-1]["payment_intent"],
            open=True, opened_reason="rule", reason="rule",
        )  # fmt: skip
        world.emit("review.opened", review)
        warning = world.add(
            "radar.early_fraud_warning", "issfr", charge=charges[-2]["id"],
            payment_intent=charges[-2]["payment_intent"], actionable=True,
            fraud_type="unauthorized_use_of_card",
        )  # fmt: skip
        world.emit("radar.early_fraud_warning.created", warning)
    topup = world.add(
        "topup", "tu", amount=100_000, currency="usd", description="Top-up", status="succeeded", metadata={},
        expected_availability_date=world.now,
    )  # fmt: skip
    row = book(world, "topup", "topup", topup["id"], 100_000, "usd", description="Top-up")
    world.change(topup, None, balance_transaction=row["id"])
    world.emit("topup.created", topup)
    world.emit("topup.succeeded", topup)
    world.add(
        "webhook_endpoint", "we", url="https://example.com/stripe", enabled_events=["invoice.paid"],
        status="disabled", api_version=PINNED, description="An earlier integration", metadata={},
    )  # fmt: skip
    sub = next((row for row in reversed(store.all("subscription")) if row["status"] == "active"), None)
    if sub is not None:
        schedule = world.add(
            "subscription_schedule", "sub_sched", customer=sub["customer"], subscription=sub["id"],
            status="active", end_behavior="release", metadata={},
            current_phase={
                "end_date": sub["items"]["data"][0]["current_period_end"], "start_date": sub["start_date"],
            },
        )  # fmt: skip
        world.emit("subscription_schedule.created", schedule)
