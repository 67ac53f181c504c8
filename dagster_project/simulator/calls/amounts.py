"""Which amounts Stripe charges: supported currencies, the least and the most of each."""

from __future__ import annotations

from dagster_project.simulator.engine import settlement
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter

MOST = 99_999_999
# In minor units: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
LEAST = {
    "usd": 50, "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50,
    "gbp": 30, "hkd": 400, "huf": 17_500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50,
    "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip


def check(amount: int, currency: str) -> None:
    """Raises ApiError 400 for an amount that cannot be charged."""
    if currency not in settlement.PER_DOLLAR:
        known = ", ".join(sorted(settlement.PER_DOLLAR))
        raise invalid_parameter(
            "currency", f"Invalid currency: {currency}. Stripe currently supports these currencies: {known}"
        )
    least = LEAST.get(currency, 1)
    if amount < least:
        raise ApiError(
            400, f"Amount must be at least {shown(least, currency)}", code="amount_too_small", param="amount"
        )
    if amount > MOST:
        raise ApiError(
            400, f"Amount must be no more than {shown(MOST, currency)}", code="amount_too_large", param="amount"
        )
    step = settlement.WHOLE_UNITS.get(currency, 10 if currency in settlement.THREE_DECIMAL else 1)
    if amount % step:
        raise ApiError(
            400, f"Invalid amount: in {currency} it must be divisible by {step}.", code="invalid_charge_amount",
            param="amount",
        )  # fmt: skip


def shown(amount: int, currency: str) -> str:
    places = settlement.exponent(currency)
    whole, part = divmod(amount, 10**places)
    number = f"{whole:,}" + (f".{part:0{places}d}" if places else "")
    return f"{'$' if currency in ('usd', 'cad', 'aud') else ''}{number} {currency}"
