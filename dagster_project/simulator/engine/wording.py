"""How invoices call a price: `1 × Pro (at $19.00 / month)`."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from dagster_project.simulator.engine.settlement import exponent
from dagster_project.simulator.engine.world import Object

_SIGNS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}


def rate(price: Object, unit_amount_decimal: str | None, currency: str) -> str:
    """What a unit costs and how often, in brackets behind a space; nothing where it depends on the tier."""
    if unit_amount_decimal is None or not price["recurring"]:
        return ""
    package = (price["transform_quantity"] or {}).get("divide_by")
    recurring = price["recurring"]
    return _rate(unit_amount_decimal, currency, package, recurring["interval"], recurring["interval_count"])


@lru_cache(maxsize=4096)
def _rate(amount: str, currency: str, package: int | None, interval: str, count: int) -> str:
    often = interval if count == 1 else f"every {count} {interval}s"
    return f" (at {money(amount, currency)}{f' per {package}' if package else ''} / {often})"


def money(amount: str, currency: str) -> str:
    """Minor units (decimal text) as people read them, with further places where there are any."""
    digits = exponent(currency)
    value = Decimal(amount).scaleb(-digits)
    places = max(digits, -int(value.normalize().as_tuple().exponent))
    text = f"{value:,.{places}f}"
    return f"{_SIGNS[currency]}{text}" if currency in _SIGNS else f"{currency.upper()} {text}"


def counted(quantity: int | None, name: str) -> str:
    """`3 × Pro`, and `Pro` alone for one."""
    return name if quantity == 1 else f"{quantity or 0} × {name}"
