"""The history of the made-up business: what is set up on the first day, and customers who arrive day by day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from dagster_project.simulator import business as b
from dagster_project.simulator import shapes
from dagster_project.simulator.billing import gives_credit, subscribe
from dagster_project.simulator.payments import card, dispute_opens
from dagster_project.simulator.payouts import billing_fee, day_ends
from dagster_project.simulator.world import Object, World, action


def seed(world: World, *, seed: int, customers: int, months: int, progress: Callable[[str], None] = print) -> None:
    """Fill an empty world with `months` months that end at `business.CLOCK`, in which `customers` customers arrive."""
    meta = world.store.meta
    meta.update(seed=seed, customers=customers, months=months)
    world.seed = seed
    start = b.CLOCK // b.DAY * b.DAY - int(months * 30.4375) * b.DAY
    world.events_from = b.CLOCK - b.EVENT_RETENTION
    world.store.now = start
    meta["began"] = start
    days = (b.CLOCK - start) // b.DAY
    meta["weight"] = sum(_weight(day, days, start + day * b.DAY) for day in range(days))
    _set_up(world)
    world.later(start + 60, day_begins, 0)
    world.later(start + b.DAY + 900, day_ends)
    world.later(start + 30 * b.DAY, billing_fee)
    for month in range(1, months + 1):
        world.advance(start + (b.CLOCK - start) * month // months)
        progress(
            f"  {datetime.fromtimestamp(world.now, UTC):%Y-%m}: {meta['arrived']:,} customers, "
            f"{world._numbers.get('in', 0):,} invoices"
        )
    _rare_objects(world)
    world.advance(b.CLOCK + 120)
    world.new_events.clear()
    world.store.flush()


# ---- the first day ------------------------------------------------------------------------------------------
def _set_up(world: World) -> None:
    meta = world.store.meta
    meta["prices"], meta["arrived"], meta["taken"] = {}, 0, 0.0
    account = shapes.new("account", world.id("acct")[:21], email="billing@example.com", type="standard")
    account |= {
        "business_profile": {"annual_revenue": None, "estimated_worker_count": None, "mcc": "5734", "minority_owned_business_designation": None,
                             "name": "Ledgerline Demo", "product_description": None, "support_address": None, "support_email": None,
                             "support_phone": None, "specified_commercial_transactions_act_url": None, "support_url": None, "url": "https://example.com"},
        "business_type": "company", "capabilities": {"card_payments": "active", "transfers": "active"}, "country": "US",
        "created": world.now, "default_currency": "usd", "charges_enabled": True, "payouts_enabled": True, "details_submitted": True,
        "metadata": {},
    }  # fmt: skip
    meta["account"] = account["id"]
    banks = [
        shapes.new(
            "bank_account", world.id("ba"), account=account["id"], account_holder_name="Ledgerline Demo", bank_name="STRIPE TEST BANK",
            account_holder_type="company", country=country, currency=currency, default_for_currency=True, last4="6789",
            fingerprint=f"bank{currency}", status="new", metadata={},
        )  # fmt: skip
        for currency, country in (("usd", "US"), ("eur", "DE"), ("jpy", "JP"))
    ]
    account["external_accounts"] = shapes.embedded(f"/v1/accounts/{account['id']}/external_accounts", banks)
    world.store.insert(account)
    for bank in banks:
        world.store.insert(bank, kind="external_account", parent=account["id"])
    rate = world.add(
        "tax_rate", "txr", display_name="USt", percentage=b.TAX_PERCENT, effective_percentage=b.TAX_PERCENT, inclusive=False,
        active=True, country="DE", jurisdiction="DE", tax_type="vat", description="German VAT", metadata={},
    )  # fmt: skip
    meta["tax_rate"] = rate["id"]
    for name, (amounts, _) in b.PLANS.items():
        product = _product(world, name)
        for currency, amount in amounts.items():
            _price(world, product, currency, "month", amount)
            _price(world, product, currency, "year", amount * 10)
    storage = _product(world, "Extra storage")
    for currency, (first, rest) in b.STORAGE.items():
        for interval, times in (("month", 1), ("year", 10)):
            _price(world, storage, currency, interval, None, tiers=(first * times, rest * times))
    meter = world.add(
        "billing.meter", "mtr", display_name="API calls", event_name="api_calls", status="active", updated=world.now,
        customer_mapping={"event_payload_key": "stripe_customer_id", "type": "by_id"}, event_time_window=None,
        default_aggregation={"formula": "sum"}, value_settings={"event_payload_key": "value"},
        status_transitions={"deactivated_at": None},
    )  # fmt: skip
    world.emit("billing.meter.created", meter)
    calls = _product(world, "API calls")
    for currency, amount in (("usd", 1), ("eur", 1), ("jpy", 2)):
        _price(world, calls, currency, "month", amount, meter=meter["id"])
    for name, percent, amount, duration, length in b.COUPONS:
        coupon = world.add(
            "coupon", "", id=name, name=name, percent_off=percent, amount_off=amount, currency="usd" if amount else None,
            duration=duration, duration_in_months=length, valid=True, metadata={},
        )  # fmt: skip
        world.add(
            "promotion_code", "promo", active=True, code=f"{name}NOW", metadata={}, promotion={"coupon": coupon["id"], "type": "coupon"},
        )  # fmt: skip


def _product(world: World, name: str) -> Object:
    made = world.add(
        "product", "prod", name=name, active=True, type="service", images=[], marketing_features=[], metadata={},
        description=f"{name}, billed by subscription", updated=world.now,
    )  # fmt: skip
    world.emit("product.created", made)
    return made


def _price(
    world: World, product: Object, currency: str, interval: str, amount: int | None, *,
    tiers: tuple[int, int] | None = None, meter: str | None = None,
) -> Object:  # fmt: skip
    recurring = {"interval": interval, "interval_count": 1, "meter": meter, "trial_period_days": None,
                 "usage_type": "metered" if meter else "licensed"}  # fmt: skip
    price = world.add(
        "price", "price", product=product["id"], currency=currency, unit_amount=amount, type="recurring", active=True,
        unit_amount_decimal=None if amount is None else str(amount), billing_scheme="tiered" if tiers else "per_unit",
        recurring=recurring, tax_behavior="exclusive", tiers_mode="graduated" if tiers else None,
        metadata={"first": str(tiers[0]), "rest": str(tiers[1])} if tiers else {}, nickname=f"{product['name']} per {interval}",
    )  # fmt: skip
    if tiers:
        price["tiers"] = [
            {"flat_amount": None, "flat_amount_decimal": None, "unit_amount": unit, "unit_amount_decimal": str(unit), "up_to": up_to}
            for unit, up_to in ((tiers[0], 10), (tiers[1], None))
        ]
    world.add(
        "plan", "price", id=price["id"], active=True, amount=amount, amount_decimal=price["unit_amount_decimal"], currency=currency,
        billing_scheme=price["billing_scheme"], interval=interval, interval_count=1, product=product["id"], meter=meter,
        usage_type=recurring["usage_type"], tiers_mode=price["tiers_mode"], metadata=price["metadata"], nickname=price["nickname"],
    )  # fmt: skip
    world.store.meta["prices"][f"{product['name']}/{currency}/{interval}"] = price["id"]
    world.emit("price.created", price)
    return price


# ---- customers ----------------------------------------------------------------------------------------------
@action
def day_begins(world: World, day: int) -> None:
    """Plan the day's arrivals, so that over the seeded months as many arrive as asked for."""
    meta = world.store.meta
    days = max(1, (b.CLOCK - meta["began"]) // b.DAY)
    meta["taken"] += meta["customers"] * _weight(day, days, world.now) / meta["weight"]
    while meta["arrived"] + 1 <= meta["taken"]:
        meta["arrived"] += 1
        at = world.now + world.chance("arrives", meta["arrived"]).randint(0, b.DAY - 3600)
        world.later(at, arrives, meta["arrived"])
    world.later(world.now + b.DAY, day_begins, day + 1)


def _weight(day: int, days: int, at: int) -> float:
    """How many customers arrive on a day, relative to other days: growth, season, weekday."""
    moment = datetime.fromtimestamp(at, UTC)
    return float(b.GROWTH ** (day / days) * b.SEASON[moment.month] * (0.5 if moment.weekday() >= 5 else 1.2))


@action
def arrives(world: World, number: int) -> None:
    dice = world.chance("customer", number)
    currency = dice.choices(list(b.CURRENCIES), list(b.CURRENCIES.values()))[0]
    customer = create_customer(world, dice, currency)
    method = card(world, customer)
    customer["invoice_settings"]["default_payment_method"] = method["id"]
    world.store.save(customer)
    if dice.random() < 0.3:
        setup = world.add(
            "setup_intent", "seti", customer=customer["id"], payment_method=method["id"], payment_method_types=["card"],
            status="succeeded", usage="off_session", metadata={},
        )  # fmt: skip
        world.emit("setup_intent.created", setup)
    prices = world.store.meta["prices"]
    interval = "year" if dice.random() < b.YEARLY else "month"
    plan = dice.choices(list(b.PLANS), [share for _, share in b.PLANS.values()])[0]
    items: list[tuple[Object, int | None]] = [
        (world.the(prices[f"{plan}/{currency}/{interval}"], "price"), 1 + int(dice.expovariate(1 / 3)))
    ]
    if dice.random() < b.WITH_STORAGE:
        items.append((world.the(prices[f"Extra storage/{currency}/{interval}"], "price"), dice.randint(1, 40)))
    if plan == "Business" and interval == "month" and dice.random() < b.METERED:
        items.append((world.the(prices[f"API calls/{currency}/month"], "price"), None))
    if dice.random() < b.LARGE:
        others = [id for name, id in prices.items() if name.endswith(f"{currency}/{interval}") and "API" not in name]
        items += [(world.the(id, "price"), 1 + place) for place, id in enumerate(others * 4)][:11]
    coupon = None
    if dice.random() < b.COUPON:
        names = [row[0] for row in b.COUPONS if row[2] is None or currency == "usd"]
        coupon = world.the(dice.choice(names), "coupon")
    trial = b.TRIAL_DAYS if dice.random() < b.TRIAL else 0
    subscribe(world, customer, items, method=method["id"], trial_days=trial, coupon=coupon)
    if dice.random() < b.CREDIT:
        world.later(world.now + dice.randint(5, 200) * b.DAY, gives_credit, customer["id"])


def create_customer(world: World, dice: Any, currency: str) -> Object:
    first, last = dice.choice(b.FIRST_NAMES), dice.choice(b.LAST_NAMES)
    company = f"{dice.choice(b.COMPANIES)} {dice.choice(b.SUFFIXES[currency])}"
    number = world.number("mail")
    country = dice.choice(b.COUNTRIES[currency])
    customer = world.add(
        "customer", "cus", name=company, email=f"{first}.{last}{number}@example.com".lower(), currency=currency, balance=0,
        delinquent=False, description=f"{first} {last}", invoice_prefix=f"LL{number:06d}", metadata={"segment": "smb"}, phone=None,
        address={"city": None, "country": country, "line1": None, "line2": None, "postal_code": None, "state": None},
        preferred_locales=[], next_invoice_sequence=1, tax_exempt="none",
        invoice_settings={"custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None},
    )  # fmt: skip
    if currency == "eur" and dice.random() < 0.4:
        tax = world.add(
            "tax_id", "txi", within=customer["id"], country=country, customer=customer["id"], type="eu_vat",
            value=f"{country}{dice.randint(10**8, 10**9 - 1)}", verification={"status": "verified", "verified_address": None, "verified_name": None},
            owner={"customer": customer["id"], "customer_account": None, "type": "customer"},
        )  # fmt: skip
        world.emit("customer.tax_id.created", tax)
    world.emit("customer.created", customer)
    return customer


# ---- so that every list has something to show ---------------------------------------------------------------
def _rare_objects(world: World) -> None:
    store = world.store
    customer = store.all("customer")[-1]
    price = store.meta["prices"][f"Team/{customer['currency']}/month"]
    charges = [row for row in store.all("charge")[-200:] if row["paid"] and not row["disputed"]]
    quote = world.add(
        "quote", "qt", customer=customer["id"], currency=customer["currency"], amount_subtotal=4900, amount_total=4900, status="open",
        expires_at=world.now + 30 * b.DAY, number="QT-0001-1", metadata={}, discounts=[], default_tax_rates=[],
    )  # fmt: skip
    world.emit("quote.created", quote)
    link = world.add(
        "payment_link", "plink", active=True, currency=customer["currency"], url="https://buy.example.com/team", metadata={},
    )  # fmt: skip
    world.emit("payment_link.created", link)
    session = world.add(
        "checkout.session", "cs_live", amount_subtotal=4900, amount_total=4900, currency=customer["currency"], customer=customer["id"],
        mode="subscription", status="open", payment_status="unpaid", payment_method_types=["card"], metadata={},
        expires_at=world.now + b.DAY, success_url="https://example.com/thanks",
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
    )  # fmt: skip
    item = shapes.new(
        "item", world.id("li"), amount_subtotal=4900, amount_total=4900, currency=customer["currency"], description="Team", quantity=1,
        price=store.get(price, "price"),
    )  # fmt: skip
    store.insert(item, parent=session["id"])
    grant = world.add(
        "billing.credit_grant", "credgr", customer=customer["id"], category="promotional", name="Launch credit", updated=world.now,
        amount={"monetary": {"currency": customer["currency"], "value": 1000}, "type": "monetary"}, metadata={}, priority=50,
        applicability_config={"scope": {"price_type": "metered"}},
    )  # fmt: skip
    world.emit("billing.credit_grant.created", grant)
    for back, at in ((3, world.now + 60), (5, world.now + 6 * b.HOUR), (7, world.now + 9 * b.HOUR)):
        if len(charges) > back:  # so that the first simulated day brings disputes with certainty
            world.later(at, dispute_opens, charges[-back]["id"])
    if len(charges) >= 2:
        review = world.add(
            "review", "prv", charge=charges[-1]["id"], payment_intent=charges[-1]["payment_intent"], open=True, opened_reason="rule",
            reason="rule",
        )  # fmt: skip
        world.emit("review.opened", review)
        warning = world.add(
            "radar.early_fraud_warning", "issfr", charge=charges[-2]["id"], payment_intent=charges[-2]["payment_intent"],
            actionable=True, fraud_type="unauthorized_use_of_card",
        )  # fmt: skip
        world.emit("radar.early_fraud_warning.created", warning)
    sub = next((row for row in reversed(store.all("subscription")) if row["status"] == "active"), None)
    if sub is not None:
        schedule = world.add(
            "subscription_schedule", "sub_sched", customer=sub["customer"], subscription=sub["id"], status="active",
            end_behavior="release", metadata={},
            current_phase={"end_date": sub["items"]["data"][0]["current_period_end"], "start_date": sub["start_date"]},
        )  # fmt: skip
        world.emit("subscription_schedule.created", schedule)
