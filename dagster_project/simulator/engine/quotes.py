"""Quotes: what somebody would pay, offered, and accepted as a subscription or an invoice.

Rule: https://docs.stripe.com/quotes/overview (draft, open, then accepted or canceled; what expires is canceled).
"""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.extras import Extra, one_time_item
from dagster_project.simulator.engine.invoices import one_off
from dagster_project.simulator.engine.lines import lines_of
from dagster_project.simulator.engine.pricing import product_name
from dagster_project.simulator.engine.starting import Item, Terms, start
from dagster_project.simulator.engine.subscriptions import payment_method
from dagster_project.simulator.engine.world import Object, World, action

Row = dict[str, Any]  # price (id), quantity, tax_rates (objects)


def create(world: World, customer: Object, rows: list[Row], currency: str, **fields: Any) -> Object:
    """A draft, with its amounts worked out."""
    terms: Object = {"customer": customer["id"], "currency": currency, "status": "draft", **fields}
    costs = _costs(world, shapes.new("quote", "", default_tax_rates=[]) | terms, rows)
    made: Object = {"metadata": {}, "discounts": [], "default_tax_rates": [], "expires_at": world.now + 30 * b.DAY}
    quote = world.add("quote", "qt", **{**made, **terms})
    _offer(world, quote, rows, costs)
    world.emit("quote.created", quote)
    return quote


def change(world: World, quote: Object, rows: list[Row] | None, **fields: Any) -> Object:
    """Change a draft; `rows` replace what it offers. Stripe tells nobody."""
    rows = world.meta["quotes"][quote["id"]] if rows is None else rows
    costs = _costs(world, {**quote, **fields}, rows)
    quote = world.the(quote["id"], "quote")
    quote.update(fields)
    _offer(world, quote, rows, costs)
    return quote


def _offer(world: World, quote: Object, rows: list[Row], costs: list[tuple[int, int]]) -> None:
    world.meta.setdefault("quotes", {})[quote["id"]] = shapes.frozen({"rows": rows})["rows"]
    kept = world.meta.setdefault("quote_items", {})
    for id in kept.pop(quote["id"], []):
        world.store.delete(id, None, kind="item")
    kept[quote["id"]] = []
    for row, (amount, tax) in zip(rows, costs, strict=True):
        price = world.the(row["price"], "price")
        item = shapes.new(
            "item", world.id("li"), amount_subtotal=amount, amount_discount=0, amount_tax=tax,
            amount_total=amount + tax, currency=quote["currency"], description=product_name(world, price),
            quantity=row["quantity"], price=price,
        )  # fmt: skip
        world.store.insert(item, parent=quote["id"])
        kept[quote["id"]].append(item["id"])
    _add_up(world, quote, rows, costs)


def _costs(world: World, quote: Object, rows: list[Row]) -> list[tuple[int, int]]:
    """(amount, tax) of every row in minor units: it is carried out, looked at, and taken back.

    Called before anything is changed: what was changed before would stay even if the call is refused later.
    """
    with world.tentatively():
        world.meta.get("waiting", {}).pop(quote["customer"], None)
        invoice = _carry_out(world, quote, rows, trial=False)
        found = [
            (line["amount"], sum(tax["amount"] for tax in line["taxes"] if tax["tax_behavior"] == "exclusive"))
            for line in lines_of(world, invoice)
        ]
    recurring = [place for place, row in enumerate(rows) if row["recurring"]]
    once = [place for place, row in enumerate(rows) if not row["recurring"]]
    return [cost for _, cost in sorted(zip([*recurring, *once], found, strict=True))]


def _add_up(world: World, quote: Object, rows: list[Row], costs: list[tuple[int, int]]) -> None:
    recurring = [cost for row, cost in zip(rows, costs, strict=True) if row["recurring"]]
    once = [cost for row, cost in zip(rows, costs, strict=True) if not row["recurring"]]
    trial = quote["subscription_data"]["trial_period_days"]
    computed: Object = {"recurring": None, "upfront": _sum(once if trial else costs)}
    if recurring:
        first = next(world.the(row["price"], "price") for row in rows if row["recurring"])["recurring"]
        cycle = {"interval": first["interval"], "interval_count": first["interval_count"]}
        computed["recurring"] = _sum(recurring) | cycle
    quote.update(_sum(costs) | {"computed": computed})
    world.store.save(quote)


def _sum(costs: list[tuple[int, int]]) -> Object:
    amount, tax = sum(cost[0] for cost in costs), sum(cost[1] for cost in costs)
    return {
        "amount_subtotal": amount, "amount_total": amount + tax,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": tax},
    }  # fmt: skip


def _carry_out(world: World, quote: Object, rows: list[Row], *, trial: bool = True) -> Object:
    """Start what the quote offers: the first invoice, finalized when it is a subscription's."""
    customer = world.the(quote["customer"], "customer")
    priced = [(world.the(row["price"], "price"), row) for row in rows]
    items = [Item(price, row["quantity"], {"tax_rates": row["tax_rates"]}) for price, row in priced if row["recurring"]]
    extras = [Extra(price, row["quantity"], row["tax_rates"]) for price, row in priced if not row["recurring"]]
    data, sent = quote["subscription_data"], quote["collection_method"] == "send_invoice"
    days = quote["invoice_settings"]["days_until_due"]
    if not items:
        made = [one_time_item(world, customer, extra, quote["currency"]) for extra in extras]
        return one_off(
            world, customer, made, due=world.now + (days or 30) * b.DAY if sent else None,
            currency=quote["currency"], default_tax_rates=[*quote["default_tax_rates"]],
            parent={"quote_details": {"quote": quote["id"]}, "subscription_details": None, "type": "quote_details"},
        )  # fmt: skip
    terms = Terms(items, quote["currency"], extras=extras)
    terms.fields = {
        "collection_method": quote["collection_method"], "description": data["description"],
        "metadata": {**(data["metadata"] or {})}, "default_tax_rates": [*quote["default_tax_rates"]],
    }  # fmt: skip
    if sent:
        terms.fields["days_until_due"] = days or 30
    if trial and data["trial_period_days"]:
        terms.trial_end = world.now + data["trial_period_days"] * b.DAY
    terms.collected = payment_method(world, {"default_payment_method": None, "customer": customer["id"]}) is not None
    return world.the(start(world, customer, terms)["latest_invoice"], "invoice")


def finalize(world: World, quote: Object, expires_at: int | None) -> Object:
    """From now on it is an offer."""
    number = world.number("quote number")
    transitions = quote["status_transitions"] | {"finalized_at": world.now}
    world.change(
        quote, "quote.finalized", status="open", number=f"QT-{number:06d}-1", status_transitions=transitions,
        expires_at=expires_at or quote["expires_at"],
    )  # fmt: skip
    world.later(quote["expires_at"], quote_expires, quote["id"], quote["expires_at"])
    return quote


def accept(world: World, quote: Object) -> Object:
    """The customer agrees: a subscription starts, or an invoice is drafted."""
    invoice = _carry_out(world, quote, world.meta["quotes"][quote["id"]])
    details = (invoice["parent"] or {}).get("subscription_details")
    transitions = quote["status_transitions"] | {"accepted_at": world.now}
    return world.change(
        quote, "quote.accepted", status="accepted", status_transitions=transitions, invoice=invoice["id"],
        subscription=details["subscription"] if details else None,
    )  # fmt: skip


def cancel(world: World, quote: Object) -> Object:
    transitions = quote["status_transitions"] | {"canceled_at": world.now}
    return world.change(quote, "quote.canceled", status="canceled", status_transitions=transitions)


@action
def quote_expires(world: World, id: str, at: int) -> None:
    quote = world.the(id, "quote")
    if quote["status"] == "open" and quote["expires_at"] == at:
        cancel(world, quote)
