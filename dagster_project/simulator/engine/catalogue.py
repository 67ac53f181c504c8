"""What the business sells: its products, prices, meters, coupons and tax rates, as `business` states them."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine.pricing import keep_on_request
from dagster_project.simulator.engine.world import Object, World


def make_catalogue(world: World) -> None:
    """The ids of prices are kept by name, currency and interval; those of tax rates by country."""
    numbers = world.business
    world.meta["tax_rates"] = {
        country: _tax_rate(world, country, name, percent)["id"] for country, (name, percent) in numbers.taxes.items()
    }
    for name, (amounts, _) in numbers.plans.items():
        product = _product(world, name)
        for currency, amount in amounts.items():
            _price(world, product, currency, "month", amount)
            _price(world, product, currency, "year", amount * 10)
    if numbers.storage:
        storage = _product(world, "Extra storage")
        for currency in numbers.currencies:
            first, rest = numbers.storage[currency]
            for interval, times in (("month", 1), ("year", 10)):
                steps = ((10, str(first * times)), (None, str(rest * times)))
                _price(world, storage, currency, interval, None, tiers=steps)
    for name, (event, _, _, formula, terms) in numbers.metered.items():
        meter, product = _meter(world, name, event, formula), _product(world, name)
        for currency, each in terms.items():
            _price(
                world, product, currency, "month", each.get("unit"), meter=meter["id"], package=each.get("package"),
                tiers=each.get("tiers"), mode=each.get("mode", "graduated"),
            )  # fmt: skip
    if numbers.onboarding_hour:
        onboarding = _product(world, "Onboarding")
        for currency in numbers.currencies:
            _price(world, onboarding, currency, None, numbers.onboarding_hour[currency])
    for name, percent, off, duration, length in numbers.coupons:
        coupon = world.add(
            "coupon", "", id=name, name=name, percent_off=percent, amount_off=off,
            currency="usd" if off else None, duration=duration, duration_in_months=length, valid=True,
            metadata={},
        )  # fmt: skip
        world.add(
            "promotion_code", "promo", active=True, code=f"{name}NOW", metadata={},
            promotion={"coupon": coupon["id"], "type": "coupon"},
        )  # fmt: skip


def _tax_rate(world: World, country: str, name: str, percent: float) -> Object:
    return world.add(
        "tax_rate", "txr", display_name=name, percentage=percent, effective_percentage=percent,
        inclusive=world.business.tax_inside, active=True, country=country, jurisdiction=country, tax_type="vat",
        description=f"{name} of {country}", metadata={},
    )  # fmt: skip


def _meter(world: World, name: str, event: str, formula: str) -> Object:
    meter = world.add(
        "billing.meter", "mtr", display_name=name, event_name=event, status="active", updated=world.now,
        customer_mapping={"event_payload_key": "stripe_customer_id", "type": "by_id"}, event_time_window=None,
        default_aggregation={"formula": formula}, value_settings={"event_payload_key": "value"},
        status_transitions={"deactivated_at": None},
    )  # fmt: skip
    world.emit("billing.meter.created", meter)
    return meter


def _product(world: World, name: str) -> Object:
    made = world.add(
        "product", "prod", name=name, active=True, type="service", images=[], marketing_features=[],
        metadata={}, description=f"{name}, billed by subscription", updated=world.now,
    )  # fmt: skip
    world.emit("product.created", made)
    return made


def _price(
    world: World, product: Object, currency: str, interval: str | None, amount: int | None, *, mode: str = "graduated",
    tiers: Any = None, meter: str | None = None, package: int | None = None,
) -> Object:  # fmt: skip
    """A price and, when it recurs, the plan of the same id; without an interval it is paid once."""
    usage = "metered" if meter else "licensed"
    recurring = {
        "interval": interval, "interval_count": 1, "meter": meter, "trial_period_days": None, "usage_type": usage,
    }  # fmt: skip
    price = world.add(
        "price", "price", product=product["id"], currency=currency, unit_amount=amount, active=True,
        type="recurring" if interval else "one_time", recurring=recurring if interval else None,
        unit_amount_decimal=None if amount is None else str(amount),
        tax_behavior="inclusive" if world.business.tax_inside else "exclusive",
        billing_scheme="tiered" if tiers else "per_unit", tiers_mode=mode if tiers else None, metadata={},
        transform_quantity={"divide_by": package, "round": "up"} if package else None,
        nickname=f"{product['name']} per {interval}" if interval else product["name"],
    )  # fmt: skip
    world.meta["prices"][f"{product['name']}/{currency}/{interval or 'once'}"] = price["id"]
    if tiers:
        keep_on_request(world, "price", price["id"], tiers=[_tier(*tier) for tier in tiers])
    if interval:
        world.add(
            "plan", "price", id=price["id"], active=True, amount=amount, currency=currency, interval=interval,
            amount_decimal=price["unit_amount_decimal"], billing_scheme=price["billing_scheme"], meter=meter,
            interval_count=1, product=product["id"], usage_type=usage, tiers_mode=price["tiers_mode"],
            metadata=price["metadata"], nickname=price["nickname"], transform_usage=price["transform_quantity"],
        )  # fmt: skip
    world.emit("price.created", price)
    return price


def _tier(up_to: int | None, unit: str) -> Object:
    return {
        "flat_amount": None, "flat_amount_decimal": None, "unit_amount": None if "." in unit else int(unit),
        "unit_amount_decimal": unit, "up_to": up_to,
    }  # fmt: skip
