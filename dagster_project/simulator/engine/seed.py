"""The history of the made-up business: what is set up on the first day, and the months that follow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine.account import open_account
from dagster_project.simulator.engine.arrivals import day_begins, weight
from dagster_project.simulator.engine.flat import fill
from dagster_project.simulator.engine.payouts import billing_fee, day_ends
from dagster_project.simulator.engine.pricing import keep_on_request
from dagster_project.simulator.engine.rarities import rare_objects
from dagster_project.simulator.engine.scenarios import FLAT, Parameters
from dagster_project.simulator.engine.world import Object, World


def seed(
    world: World, *, seed: int, customers: int, months: int, scenario: str = "saas",
    progress: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Fill an empty world with `months` months that end at `business.CLOCK`, in which `customers` customers arrive."""
    meta = world.store.meta
    meta.update(scenario=scenario, seed=seed, customers=customers, months=months)
    start = b.CLOCK // b.DAY * b.DAY - int(months * 30.4375) * b.DAY
    world.events_from = b.CLOCK - b.EVENT_RETENTION
    world.store.now = start
    meta["began"] = start
    days = (b.CLOCK - start) // b.DAY
    meta["weight"] = sum(weight(world.business, day, days, start + day * b.DAY) for day in range(days))
    _set_up(world)
    world.later(start + 60, day_begins, 0)
    world.later(start + b.DAY + 900, day_ends)
    world.later(start + 30 * b.DAY, billing_fee)
    for month in range(1, months + 1):
        world.advance(start + (b.CLOCK - b.HOUR - start) * month // months)
        progress(
            f"  {datetime.fromtimestamp(world.now, UTC):%Y-%m}: {meta['arrived']:,} customers, "
            f"{meta['numbers'].get('in', 0):,} invoices"
        )
    rare_objects(world)
    world.advance(b.CLOCK)
    world.new_events.clear()
    world.store.flush()


def make(world: World, parameters: Parameters, progress: Callable[[str], None] = print) -> None:
    """Fill an empty world with the business that `scenarios.completed` has named."""
    (fill if parameters["scenario"] == FLAT else seed)(world, **parameters, progress=progress)


def _set_up(world: World) -> None:
    meta = world.store.meta
    meta["prices"], meta["arrived"], meta["taken"] = {}, 0, 0.0
    open_account(world)
    rate = world.add(
        "tax_rate", "txr", display_name="USt", percentage=world.business.tax_percent,
        effective_percentage=world.business.tax_percent,
        inclusive=False, active=True, country="DE", jurisdiction="DE", tax_type="vat",
        description="German VAT", metadata={},
    )  # fmt: skip
    meta["tax_rate"] = rate["id"]
    for name, (amounts, _) in world.business.plans.items():
        product = _product(world, name)
        for currency, amount in amounts.items():
            _price(world, product, currency, "month", amount)
            _price(world, product, currency, "year", amount * 10)
    storage = _product(world, "Extra storage")
    for currency, (first, rest) in world.business.storage.items():
        for interval, times in (("month", 1), ("year", 10)):
            _price(world, storage, currency, interval, None, tiers=(first * times, rest * times))
    meter = world.add(
        "billing.meter", "mtr", display_name="API calls", event_name="api_calls", status="active",
        updated=world.now, customer_mapping={"event_payload_key": "stripe_customer_id", "type": "by_id"},
        event_time_window=None, default_aggregation={"formula": "sum"},
        value_settings={"event_payload_key": "value"}, status_transitions={"deactivated_at": None},
    )  # fmt: skip
    world.emit("billing.meter.created", meter)
    calls = _product(world, "API calls")
    for currency, amount in (("usd", 1), ("eur", 1), ("jpy", 2)):
        _price(world, calls, currency, "month", amount, meter=meter["id"])
    onboarding = _product(world, "Onboarding")
    for currency, amount in world.business.onboarding_hour.items():
        _price(world, onboarding, currency, None, amount)
    for name, percent, off, duration, length in world.business.coupons:
        coupon = world.add(
            "coupon", "", id=name, name=name, percent_off=percent, amount_off=off,
            currency="usd" if off else None, duration=duration, duration_in_months=length, valid=True,
            metadata={},
        )  # fmt: skip
        world.add(
            "promotion_code", "promo", active=True, code=f"{name}NOW", metadata={},
            promotion={"coupon": coupon["id"], "type": "coupon"},
        )  # fmt: skip


def _product(world: World, name: str) -> Object:
    made = world.add(
        "product", "prod", name=name, active=True, type="service", images=[], marketing_features=[],
        metadata={}, description=f"{name}, billed by subscription", updated=world.now,
    )  # fmt: skip
    world.emit("product.created", made)
    return made


def _price(
    world: World, product: Object, currency: str, interval: str | None, amount: int | None, *,
    tiers: tuple[int, int] | None = None, meter: str | None = None,
) -> Object:  # fmt: skip
    """A price and, when it recurs, the plan of the same id; without an interval it is paid once."""
    usage = "metered" if meter else "licensed"
    recurring = {
        "interval": interval, "interval_count": 1, "meter": meter, "trial_period_days": None, "usage_type": usage,
    }  # fmt: skip
    price = world.add(
        "price", "price", product=product["id"], currency=currency, unit_amount=amount, active=True,
        type="recurring" if interval else "one_time", recurring=recurring if interval else None,
        unit_amount_decimal=None if amount is None else str(amount), tax_behavior="exclusive",
        billing_scheme="tiered" if tiers else "per_unit", tiers_mode="graduated" if tiers else None,
        metadata={},
        nickname=f"{product['name']} per {interval}" if interval else product["name"],
    )  # fmt: skip
    world.store.meta["prices"][f"{product['name']}/{currency}/{interval or 'once'}"] = price["id"]
    if tiers:
        steps = [
            {"flat_amount": None, "flat_amount_decimal": None, "unit_amount": unit,
             "unit_amount_decimal": str(unit), "up_to": up_to}
            for unit, up_to in ((tiers[0], 10), (tiers[1], None))
        ]  # fmt: skip
        keep_on_request(world, "price", price["id"], tiers=steps)
    if interval:
        world.add(
            "plan", "price", id=price["id"], active=True, amount=amount, currency=currency, interval=interval,
            amount_decimal=price["unit_amount_decimal"], billing_scheme=price["billing_scheme"], meter=meter,
            interval_count=1, product=product["id"], usage_type=usage, tiers_mode=price["tiers_mode"],
            metadata=price["metadata"], nickname=price["nickname"],
        )  # fmt: skip
    world.emit("price.created", price)
    return price
