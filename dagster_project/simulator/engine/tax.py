"""Tax on invoice lines by tax rates: on top of the amount, or inside it.

Rules: https://docs.stripe.com/billing/taxes/tax-rates (rates of an item come before the defaults of the invoice;
inclusive rates are taken out of the amount together, exclusive ones come on top of what is left), rounded line by line
and rate by rate. An exempt or reverse-charged customer pays none:
https://docs.stripe.com/api/customers/object#customer_object-tax_exempt.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dagster_project.simulator.engine.lines import invoice_item_of
from dagster_project.simulator.engine.pricing import rounded
from dagster_project.simulator.engine.subscriptions import by_chance
from dagster_project.simulator.engine.world import Object, World

_UNTAXED = {"exempt": "customer_exempt", "reverse": "reverse_charge"}


def add_tax(world: World, invoice: Object, lines: list[Object]) -> int:
    """Fill `taxes` of the lines; the inclusive tax that the undiscounted lines hold, in minor units."""
    home = _home_rate(world, invoice)
    inside = 0
    for line in lines:
        rates = _rates_of(world, invoice, line, home)
        if not rates:
            line["taxes"] = []
            continue
        base = line["amount"] - sum(part["amount"] for part in line["discount_amounts"])
        line["taxes"] = taxes(rates, base, invoice["customer_tax_exempt"])
        if base != line["amount"]:
            undiscounted = taxes(rates, line["amount"], invoice["customer_tax_exempt"])
        else:
            undiscounted = line["taxes"]
        inside += sum(part["amount"] for part in undiscounted if part["tax_behavior"] == "inclusive")
    return inside


def taxes(rates: list[Object], amount: int, exempt: str | None) -> list[Object]:
    """The tax rows of one amount in minor units."""
    reason = _UNTAXED.get(exempt or "none")
    within = [rate for rate in rates if rate["inclusive"]]
    on_top = [rate for rate in rates if not rate["inclusive"]]
    shares = [_percent(rate) for rate in within]
    held = [0 if reason else rounded(amount * share / (100 + sum(shares))) for share in shares]
    net = amount - sum(held)
    found = [_row(rate, tax, net, reason) for rate, tax in zip(within, held, strict=True)]
    found += [_row(rate, 0 if reason else rounded(net * _percent(rate) / 100), net, reason) for rate in on_top]
    return found


def summed(rows: list[Object]) -> list[Object]:
    """One row per rate out of the rows of all lines: the `total_taxes` of an invoice or credit note."""
    total: dict[tuple[str, str], Object] = {}
    for row in rows:
        key = (row["tax_rate_details"]["tax_rate"], row["tax_behavior"])
        if key in total:
            total[key]["amount"] += row["amount"]
            total[key]["taxable_amount"] += row["taxable_amount"]
        else:
            total[key] = {**row}
    return list(total.values())


def _percent(rate: Object) -> Decimal:
    return Decimal(str(rate["percentage"]))


def _row(rate: Object, amount: int, base: int, reason: str | None) -> Object:
    return {
        "amount": amount, "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]}, "taxability_reason": reason or "standard_rated",
        "taxable_amount": base, "type": "tax_rate_details",
    }  # fmt: skip


def _rates_of(world: World, invoice: Object, line: Object, home: list[Object]) -> list[Object]:
    """The rates of the item behind a line, otherwise the invoice's defaults, otherwise the rule of the business."""
    own: Any = None
    if id := invoice_item_of(line):
        own = world.the(id, "invoiceitem")["tax_rates"]
    elif details := line["parent"]["subscription_item_details"]:
        item = world.store.get(details["subscription_item"], "subscription_item")
        own = item["tax_rates"] if item and not item.get("deleted") else None
    return own or invoice["default_tax_rates"] or home


def _home_rate(world: World, invoice: Object) -> list[Object]:
    """The tax of the country of a made-up customer. Of others Stripe takes none unless it is told to."""
    rate = world.meta.get("tax_rates", {}).get((invoice["customer_address"] or {}).get("country"))
    if rate is None or not by_chance(world.store.known(invoice["customer"], "customer") or {}):
        return []
    return [world.the(rate, "tax_rate")]
