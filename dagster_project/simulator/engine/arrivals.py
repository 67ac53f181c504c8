"""Customers who arrive day by day, and what each of them buys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.billing import subscribe
from dagster_project.simulator.engine.cards import card
from dagster_project.simulator.engine.collection import finalize_draft
from dagster_project.simulator.engine.credit import gives_credit
from dagster_project.simulator.engine.invoices import one_off, pricing
from dagster_project.simulator.engine.meters import uses
from dagster_project.simulator.engine.world import ACTIONS, Object, World, action


@action
def day_begins(world: World, day: int) -> None:
    """Plan the day's arrivals, so that over the seeded months as many arrive as asked for."""
    meta = world.store.meta
    days = max(1, (b.CLOCK - meta["began"]) // b.DAY)
    meta["taken"] += meta["customers"] * weight(world.business, day, days, world.now) / meta["weight"]
    while meta["arrived"] + 1 <= meta["taken"]:
        meta["arrived"] += 1
        at = world.now + world.chance("arrives", meta["arrived"]).randint(0, b.DAY - 3600)
        world.later(at, ACTIONS[world.business.arrives], meta["arrived"])
    world.later(world.now + b.DAY, day_begins, day + 1)


def weight(business: type[b.Saas], day: int, days: int, at: int) -> float:
    """How many customers arrive on a day, relative to other days: growth, season, weekday.

    The growth is that of the seeded days; from then on as many go on to arrive.
    """
    moment = datetime.fromtimestamp(at, UTC)
    return float(
        business.growth ** min(1.0, day / days)
        * business.season[moment.month]
        * (0.5 if moment.weekday() >= 5 else 1.2)
    )


@action
def arrives(world: World, number: int) -> None:
    """A new customer with a card, who subscribes at once."""
    dice = world.chance("customer", number)
    customer, method = customer_with_card(world, dice)
    currency = customer["currency"]
    if dice.random() < world.business.set_up_first:
        setup = world.add(
            "setup_intent", "seti", customer=customer["id"], payment_method=method["id"],
            payment_method_types=["card"], status="succeeded", usage="off_session", metadata={},
        )  # fmt: skip
        world.emit("setup_intent.created", setup)
        world.emit("setup_intent.succeeded", setup)
    coupon = None
    if dice.random() < world.business.coupon:
        names = [row[0] for row in world.business.coupons if row[2] is None or currency == "usd"]
        coupon = world.the(dice.choice(names), "coupon")
    trial = world.business.trial_days if dice.random() < world.business.trial else 0
    items = _basket(world, dice, currency)
    sub = subscribe(world, customer, items, method=method["id"], trial_days=trial, coupon=coupon)
    uses(world, sub)
    if dice.random() < world.business.checkout and sub["status"] != "incomplete":
        _checked_out(world, customer, sub)
    for share, days, follows in (
        (world.business.credit, (5, 200), gives_credit),
        (world.business.onboarding, (2, 60), is_onboarded),
        (world.business.second, (20, 300), subscribes_again),
    ):  # fmt: skip
        if dice.random() < share:
            world.later(world.now + dice.randint(*days) * b.DAY, follows, customer["id"])


def _basket(world: World, dice: Any, currency: str) -> list[tuple[Object, int | None]]:
    """What a customer subscribes to: (price, quantity or None when metered)."""
    prices = world.store.meta["prices"]
    interval = "year" if dice.random() < world.business.yearly else "month"
    plan = dice.choices(list(world.business.plans), [share for _, share in world.business.plans.values()])[0]
    items: list[tuple[Object, int | None]] = [
        (world.the(prices[f"{plan}/{currency}/{interval}"], "price"), 1 + int(dice.expovariate(1 / 3)))
    ]
    if dice.random() < world.business.with_storage:
        items.append((world.the(prices[f"Extra storage/{currency}/{interval}"], "price"), dice.randint(1, 40)))
    for name, (_, plans, share, _, _) in world.business.metered.items():
        if plan in plans and interval == "month" and dice.random() < share:
            items.append((world.the(prices[f"{name}/{currency}/month"], "price"), None))
    if dice.random() < world.business.large:
        fitting = f"/{currency}/{interval}"
        others = [
            id for name, id in prices.items()
            if name.endswith(fitting) and name.partition("/")[0] not in world.business.metered
        ]  # fmt: skip
        items += [(world.the(id, "price"), 1 + place) for place, id in enumerate(others * 4)][:11]
    return items


@action
def subscribes_again(world: World, customer_id: str) -> None:
    """A second team of the same customer, with a subscription of its own."""
    customer = world.the(customer_id)
    if not customer.get("deleted"):
        dice = world.chance("again", customer_id)
        method = customer["invoice_settings"]["default_payment_method"]
        uses(world, subscribe(world, customer, _basket(world, dice, customer["currency"]), method=method))


def _checked_out(world: World, customer: Object, sub: Object) -> None:
    """The checkout session through which the subscription was bought."""
    invoice = world.the(sub["latest_invoice"])
    off = invoice["subtotal"] - invoice["total_excluding_tax"]
    tax = invoice["total"] - invoice["total_excluding_tax"]
    session = world.add(
        "checkout.session", "cs_live", amount_subtotal=invoice["subtotal"], amount_total=invoice["total"],
        currency=sub["currency"], customer=customer["id"], mode="subscription", status="complete",
        payment_status="paid" if invoice["amount_paid"] else "no_payment_required", invoice=invoice["id"],
        payment_method_types=["card"], metadata={}, expires_at=world.now + b.DAY, subscription=sub["id"],
        success_url="https://example.com/thanks",
        total_details={"amount_discount": off, "amount_shipping": 0, "amount_tax": tax},
    )  # fmt: skip
    for line in invoice["lines"]["data"]:
        price = world.the(line["pricing"]["price_details"]["price"], "price")
        off = sum(part["amount"] for part in line["discount_amounts"])
        tax = sum(part["amount"] for part in line["taxes"])
        item = shapes.new(
            "item", world.id("li"), amount_subtotal=line["amount"], amount_discount=off, amount_tax=tax,
            amount_total=line["amount"] - off + tax, currency=sub["currency"], description=line["description"],
            quantity=line["quantity"], price=price,
        )  # fmt: skip
        world.store.insert(item, parent=session["id"])
    world.emit("checkout.session.completed", session)


@action
def is_onboarded(world: World, customer_id: str) -> None:
    """A workshop, billed once: charged to the card or, for some, sent as a bill."""
    customer = world.the(customer_id)
    if customer.get("deleted"):
        return
    dice = world.chance("onboarding", customer_id)
    price = world.the(world.store.meta["prices"][f"Onboarding/{customer['currency']}/once"], "price")
    hours = dice.randint(1, 4)
    amount = price["unit_amount"] * hours
    item = world.add(
        "invoiceitem", "ii", amount=amount, currency=customer["currency"], customer=customer_id, date=world.now,
        description=f"{hours} × Onboarding", discountable=False, discounts=[], metadata={}, parent=None,
        period={"start": world.now, "end": world.now}, pricing=pricing(price), proration=False, quantity=hours,
        quantity_decimal=str(hours), tax_rates=[], net_amount=amount,
    )  # fmt: skip
    world.emit("invoiceitem.created", item)
    due = world.now + 30 * b.DAY if dice.random() < world.business.onboarding_sent else None
    invoice = one_off(world, customer, [item], due=due)
    world.later(world.now + b.HOUR, finalize_draft, invoice["id"])


def customer_with_card(world: World, dice: Any) -> tuple[Object, Object]:
    """A made-up customer in one of the business's currencies, and the card that is charged by default."""
    shares = world.business.currencies
    customer = create_customer(world, dice, dice.choices(list(shares), list(shares.values()))[0])
    method = card(world, customer)
    settings = customer["invoice_settings"] | {"default_payment_method": method["id"]}
    world.change(customer, "customer.updated", invoice_settings=settings)
    return customer, method


def create_customer(world: World, dice: Any, currency: str) -> Object:
    first, last = dice.choice(b.FIRST_NAMES), dice.choice(b.LAST_NAMES)
    company = f"{dice.choice(b.COMPANIES)} {dice.choice(world.business.suffixes[currency])}"
    number = world.number("mail")
    country = dice.choice(world.business.countries[currency])
    customer = world.add(
        "customer", "cus", name=company, email=f"{first}.{last}{number}@example.com".lower(),
        currency=currency, balance=0, delinquent=False, description=f"{first} {last}",
        invoice_prefix=f"LL{number:06d}", metadata={"segment": "smb"}, phone=None,
        address=dict.fromkeys(("city", "line1", "line2", "postal_code", "state")) | {"country": country},
        preferred_locales=[], next_invoice_sequence=1, tax_exempt="none",
        invoice_settings=dict.fromkeys(
            ("custom_fields", "default_payment_method", "footer", "rendering_options")
        ),
    )  # fmt: skip
    if currency == "eur" and dice.random() < 0.4:
        tax = world.add(
            "tax_id", "txi", within=customer["id"], country=country, customer=customer["id"], type="eu_vat",
            value=f"{country}{dice.randint(10**8, 10**9 - 1)}",
            verification={"status": "verified", "verified_address": None, "verified_name": None},
            owner={"customer": customer["id"], "customer_account": None, "type": "customer"},
        )  # fmt: skip
        world.emit("customer.tax_id.created", tax)
    world.emit("customer.created", customer)
    return customer
