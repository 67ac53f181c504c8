"""Properties of the arithmetic of invoices: nothing is lost by rounding, whatever the amounts are."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.simulator.engine.discounts import split
from dagster_project.simulator.engine.pricing import rounded
from dagster_project.simulator.engine.tax import summed, taxes

AMOUNTS = st.integers(0, 10**9)
PERCENTS = st.decimals("0.01", "40", places=4)


def rate(number: int, percent: Decimal, inclusive: bool) -> dict:
    return {"id": f"txr_{number}", "percentage": float(percent), "inclusive": inclusive}


@settings(deadline=None)
@given(AMOUNTS, st.lists(AMOUNTS, min_size=1, max_size=30))
def test_an_amount_that_is_split_is_there_in_full_and_no_part_is_more_than_its_line(amount, lines):
    parts = split(amount, lines)
    assert sum(parts) == min(amount, sum(lines))
    assert all(0 <= part <= line for part, line in zip(parts, lines, strict=True))


@settings(deadline=None)
@given(st.integers(-(10**9), 10**9), st.lists(st.tuples(PERCENTS, st.booleans()), min_size=1, max_size=4))
def test_each_tax_is_the_nearest_amount_and_inclusive_tax_leaves_the_price_as_it_is(amount, given_rates):
    rates = [rate(number, percent, inside) for number, (percent, inside) in enumerate(given_rates)]
    rows = taxes(rates, amount, None)
    within = [Fraction(percent) for percent, inside in given_rates if inside]
    held = [row["amount"] for row in rows if row["tax_behavior"] == "inclusive"]
    for row, percent in zip(held, within, strict=True):
        assert abs(row - Fraction(amount) * percent / (100 + sum(within))) <= Fraction(1, 2)
    net = amount - sum(held)
    assert {row["taxable_amount"] for row in rows} == {net}
    on_top = [row["amount"] for row in rows if row["tax_behavior"] == "exclusive"]
    for row, percent in zip(on_top, (Fraction(p) for p, inside in given_rates if not inside), strict=True):
        assert abs(row - net * percent / 100) <= Fraction(1, 2)
    assert sum(row["amount"] for row in summed(rows + rows)) == 2 * sum(row["amount"] for row in rows)
    for exempt in ("exempt", "reverse"):
        assert not any(row["amount"] for row in taxes(rates, amount, exempt))


@settings(deadline=None)
@given(st.decimals("-1000000", "1000000", places=12))
def test_halves_are_rounded_away_from_zero(amount):
    assert abs(Fraction(rounded(amount)) - Fraction(amount)) <= Fraction(1, 2)
    assert rounded(-amount) == -rounded(amount)
