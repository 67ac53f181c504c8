"""Objects of which a business has only a few, so that every list has something to show."""

from __future__ import annotations

import msgspec

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.disputes import dispute_opens
from dagster_project.simulator.engine.payouts import book
from dagster_project.simulator.engine.schedules import take_over
from dagster_project.simulator.engine.versions import PINNED
from dagster_project.simulator.engine.world import Object, World


def rare_objects(world: World) -> None:
    """A few of each, at the end of the history; and charges that will be disputed on the day after."""
    charges = [row for row in _newest(world, "charge", 200) if row["paid"] and not row["disputed"]]
    for back, at in ((3, world.now + b.HOUR // 2), (5, world.now + 6 * b.HOUR), (7, world.now + 9 * b.HOUR)):
        if len(charges) > back:  # so that the first simulated day brings disputes with certainty
            world.later(at, dispute_opens, charges[-back]["id"])
    _reviews(world, charges)
    for number in range(world.business.few["topup"]):
        _topup(world, 50_000 * (number + 1))
    world.add(
        "webhook_endpoint", "we", url="https://example.com/stripe", enabled_events=["invoice.paid"],
        status="disabled", api_version=PINNED, description="An earlier integration", metadata={},
    )  # fmt: skip
    if world.business.plans:
        _sales(world, _newest(world, "customer", 20))


def _sales(world: World, customers: list[Object]) -> None:
    """Offers that are open, and what was agreed with single customers."""
    few = world.business.few
    for number, customer in enumerate(reversed(customers[-few["quote"] :])):
        _quote(world, customer, number)
    for customer in reversed(customers[-few["checkout.session"] :]):
        _open_session(world, customer)
    for customer in reversed(customers[-few["billing.credit_grant"] :]):
        grant = world.add(
            "billing.credit_grant", "credgr", customer=customer["id"], category="promotional",
            name="Launch credit", updated=world.now, metadata={}, priority=50,
            amount={"monetary": {"currency": customer["currency"], "value": 1000}, "type": "monetary"},
            applicability_config={"scope": {"price_type": "metered"}},
        )  # fmt: skip
        world.emit("billing.credit_grant.created", grant)
    currencies = list(world.business.currencies)
    for number in range(few["payment_link"]):
        link = world.add(
            "payment_link", "plink", active=number == 0 or number % 3 > 0, metadata={},
            currency=currencies[number % len(currencies)], url=f"https://buy.example.com/{number + 1}",
        )  # fmt: skip
        world.emit("payment_link.created", link)
    for row in _newest(world, "subscription", 100, status="active")[: few["subscription_schedule"]]:
        sub = world.the(row["id"], "subscription")
        if sub["schedule"] is None and not sub["cancel_at_period_end"]:
            take_over(world, sub, end_behavior="release", metadata={})


def _newest(world: World, kind: str, count: int, **where: str) -> list[Object]:
    """The newest of a kind, the oldest of them first."""
    bodies, _ = world.store.page(kind, where=where, limit=count)
    return [msgspec.json.decode(body) for body in reversed(bodies)]


def _plan(world: World, customer: Object) -> Object:
    name = list(world.business.plans)[1]
    return world.the(world.meta["prices"][f"{name}/{customer['currency']}/month"], "price")


def _quote(world: World, customer: Object, number: int) -> None:
    amount = _plan(world, customer)["unit_amount"]
    status = ("open", "draft", "canceled")[number % 3]
    quote = world.add(
        "quote", "qt", customer=customer["id"], currency=customer["currency"], amount_subtotal=amount,
        amount_total=amount, status=status, expires_at=world.now + 30 * b.DAY, metadata={}, discounts=[],
        number=None if status == "draft" else f"QT-{number + 1:04d}-1", default_tax_rates=[],
    )  # fmt: skip
    world.emit("quote.created", quote)


def _open_session(world: World, customer: Object) -> None:
    """A checkout page that somebody has opened and not finished."""
    price = _plan(world, customer)
    session = world.add(
        "checkout.session", "cs_live", amount_subtotal=price["unit_amount"], amount_total=price["unit_amount"],
        currency=customer["currency"], customer=customer["id"], mode="subscription", status="open",
        payment_status="unpaid", payment_method_types=["card"], metadata={}, expires_at=world.now + b.DAY,
        success_url="https://example.com/thanks",
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
    )  # fmt: skip
    item = shapes.new(
        "item", world.id("li"), amount_subtotal=price["unit_amount"], amount_total=price["unit_amount"],
        currency=customer["currency"], description=price["nickname"], quantity=1, price=price,
    )  # fmt: skip
    world.store.insert(item, parent=session["id"])


def _reviews(world: World, charges: list[Object]) -> None:
    """Of payments that Radar has doubts about; the older ones were approved."""
    few = world.business.few
    for number, charge in enumerate(reversed(charges[-few["review"] :])):
        review = world.add(
            "review", "prv", charge=charge["id"], payment_intent=charge["payment_intent"], open=True,
            opened_reason="rule", reason="rule",
        )  # fmt: skip
        world.emit("review.opened", review)
        if number > few["review"] // 2:
            world.change(review, "review.closed", open=False, closed_reason="approved", reason="approved")
    for charge in charges[-few["review"] - few["radar.early_fraud_warning"] : -few["review"]]:
        warning = world.add(
            "radar.early_fraud_warning", "issfr", charge=charge["id"], payment_intent=charge["payment_intent"],
            actionable=True, fraud_type="unauthorized_use_of_card",
        )  # fmt: skip
        world.emit("radar.early_fraud_warning.created", warning)


def _topup(world: World, amount: int) -> None:
    topup = world.add(
        "topup", "tu", amount=amount, currency="usd", description="Top-up", status="succeeded", metadata={},
        expected_availability_date=world.now,
    )  # fmt: skip
    row = book(world, "topup", "topup", topup["id"], amount, "usd", description="Top-up")
    world.change(topup, None, balance_transaction=row["id"])
    world.emit("topup.created", topup)
    world.emit("topup.succeeded", topup)
