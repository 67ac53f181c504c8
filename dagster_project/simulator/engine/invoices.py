"""What an invoice says: its lines, discounts and tax.

Rules: https://docs.stripe.com/billing/invoices/subscription,
https://docs.stripe.com/products-prices/pricing-models
(graduated tiers); a discount is worked out line by line, tax on what is left.
"""

from __future__ import annotations

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.subscriptions import drop_discounts, update
from dagster_project.simulator.engine.world import Object, World


def draft(world: World, sub: Object, reason: str, lines: list[Object]) -> Object:
    """A draft invoice of a subscription, with what waited for it."""
    for id in world.store.meta.get("waiting", {}).pop(sub["id"], []):
        lines.append(_waiting_line(world, world.the(id)))
    details = {"metadata": {}, "subscription": sub["id"]}
    parent = {"quote_details": None, "subscription_details": details, "type": "subscription_details"}
    customer = world.the(sub["customer"])
    invoice = _invoice(world, customer, sub["currency"], reason, lines, sub["discounts"], parent)
    update(world, sub, latest_invoice=invoice["id"])
    once = [id for id in sub["discounts"] if _coupon(world, id)["duration"] == "once"]
    if once and invoice["total"] > 0:
        drop_discounts(world, sub, once)
    return invoice


def one_off(world: World, customer: Object, waiting: list[Object], *, due: int | None) -> Object:
    """A draft invoice of items that belong to no subscription; with `due` it is sent, not charged."""
    lines = [_waiting_line(world, item) for item in waiting]
    return _invoice(world, customer, customer["currency"], "manual", lines, [], None, due)


def _invoice(
    world: World, customer: Object, currency: str, reason: str, lines: list[Object], discounts: list[str],
    parent: Object | None, due: int | None = None,
) -> Object:  # fmt: skip
    """Discounts and tax are worked out line by line."""
    invoice = world.add(
        "invoice", "in", customer=customer["id"], currency=currency, billing_reason=reason,
        account_country="US", account_name="Ledgerline Demo", customer_email=customer["email"],
        customer_name=customer["name"], customer_address=customer["address"],
        customer_phone=customer["phone"], customer_shipping=None, customer_tax_exempt="none",
        customer_tax_ids=[], default_payment_method=None, period_start=world.now, period_end=world.now,
        collection_method="charge_automatically" if due is None else "send_invoice", due_date=due,
        automatically_finalizes_at=None if reason == "subscription_create" else world.now + b.HOUR,
        discounts=[*discounts], starting_balance=customer["balance"], total_discount_amounts=[],
        total_pretax_credit_amounts=[], total_taxes=[], parent=parent, metadata={}, status="draft",
        payment_settings=dict.fromkeys(("default_mandate", "payment_method_options", "payment_method_types")),
        status_transitions=dict.fromkeys(("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")),
    )  # fmt: skip
    for line in lines:
        line["invoice"] = invoice["id"]
        if details := line["parent"]["invoice_item_details"]:
            waiting = world.the(details["invoice_item"])
            waiting["invoice"] = invoice["id"]
            world.store.save(waiting)
    _total(world, discounts, customer, invoice, lines)
    for line in reversed(lines):  # the newest row of the list is the first line
        world.store.insert(line, parent=invoice["id"])
    invoice["lines"] = shapes.embedded(f"/v1/invoices/{invoice['id']}/lines", lines)
    subscription = parent["subscription_details"]["subscription"] if parent else ""
    world.store.save(invoice, subscription=subscription)
    world.emit("invoice.created", invoice)
    return invoice


def _waiting_line(world: World, item: Object) -> Object:
    price = world.the(item["pricing"]["price_details"]["price"], "price")
    period, parent = item["period"], item["parent"]
    return _line(
        world, item["description"], item["amount"], item["currency"], price, item["quantity"],
        period["start"], period["end"], invoice_item=item,
        subscription=parent["subscription_details"]["subscription"] if parent else None,
    )  # fmt: skip


def period_lines(world: World, sub: Object, *, trial: bool = False, since: int | None = None) -> list[Object]:
    lines = []
    for item in sub["items"]["data"]:
        if since is not None and item["current_period_start"] != since:
            continue
        price, quantity = item["price"], item.get("quantity")
        metered = price["recurring"]["usage_type"] == "metered"
        if metered and since is None:
            continue
        start, end = item["current_period_start"], item["current_period_end"]
        if metered:
            quantity, start, end = _usage(world, sub, item, since or start)
        amount = 0 if trial else quantity * int(price["unit_amount"]) if metered else amount_of(price, quantity)
        text = "Trial period for" if trial else f"{quantity} ×"
        line = _line(
            world, f"{text} {product_name(world, price)}", amount, sub["currency"], price, quantity,
            start, end, subscription=sub["id"], item=item["id"],
        )  # fmt: skip
        lines.append(line)
    return lines


def _usage(world: World, sub: Object, item: Object, end: int) -> tuple[int, int, int]:
    """(units used in the period that ended, its start, its end)."""
    start = max(sub["start_date"], end - 31 * b.DAY)
    return world.chance("usage", item["id"], end).randint(200, 4000), start, end


def amount_of(price: Object, quantity: int | None) -> int:
    """The list amount of one period in minor units; of a metered price 0, its usage is billed afterwards."""
    if price["recurring"] and price["recurring"]["usage_type"] == "metered":
        return 0
    if price["billing_scheme"] == "per_unit":
        return int(price["unit_amount"]) * (quantity or 0)
    units = quantity or 0
    first, rest = price["metadata"]["first"], price["metadata"]["rest"]
    return min(units, 10) * int(first) + max(units - 10, 0) * int(rest)


def _line(
    world: World, description: str, amount: int, currency: str, price: Object, quantity: int, start: int,
    end: int, *, subscription: str | None, item: str | None = None, invoice_item: Object | None = None,
) -> Object:  # fmt: skip
    details: Object = {
        "invoice_item": invoice_item["id"] if invoice_item else None,
        "proration": bool(invoice_item and invoice_item["proration"]),
        "proration_details": {"credited_items": None},
        "subscription": subscription,
    }
    kind = "invoice_item_details" if invoice_item else "subscription_item_details"
    if not invoice_item:
        details["subscription_item"] = item
    return shapes.new(
        "line_item", world.id("il"), amount=amount, subtotal=amount, currency=currency, description=description,
        discountable=invoice_item is None, discount_amounts=[], discounts=[], metadata={},
        parent={"invoice_item_details": None, "subscription_item_details": None, "type": kind, kind: details},
        period={"start": start, "end": end}, pricing=pricing(price), quantity=quantity,
        quantity_decimal=str(quantity), pretax_credit_amounts=[], taxes=[], subscription=subscription,
    )  # fmt: skip


def pricing(price: Object) -> Object:
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def product_name(world: World, price: Object) -> str:
    return str(world.the(price["product"])["name"])


def _total(
    world: World, discounts: list[str], customer: Object, invoice: Object, lines: list[Object]
) -> None:  # fmt: skip
    discounted: dict[str, int] = {}
    for discount in discounts:
        coupon = _coupon(world, discount)
        eligible = [line for line in lines if line["discountable"] and line["amount"] > 0]
        base = sum(line["amount"] for line in eligible)
        left = min(coupon["amount_off"] or 0, base)
        if coupon["currency"] not in (None, invoice["currency"]):
            eligible = []
        for number, line in enumerate(eligible, 1):
            if coupon["percent_off"] is not None:
                amount = int(line["amount"] * coupon["percent_off"] / 100 + 0.5)
            else:
                amount = left if number == len(eligible) else (coupon["amount_off"] or 0) * line["amount"] // base
                amount = min(amount, left)
                left -= amount
            line["discount_amounts"].append({"amount": amount, "discount": discount})
            line["discounts"].append(discount)
            discounted[discount] = discounted.get(discount, 0) + amount
    taxed = 0
    rate = world.store.meta["tax_rate"] if customer["address"]["country"] == "DE" else None
    if rate:
        base_in_all = 0
        for line in lines:
            base = line["amount"] - sum(part["amount"] for part in line["discount_amounts"])
            tax = round(base * world.business.tax_percent / 100)
            line["taxes"] = [_tax(rate, tax, base)]
            taxed += tax
            base_in_all += base
        invoice["total_taxes"] = [_tax(rate, taxed, base_in_all)]
    subtotal = sum(line["amount"] for line in lines)
    off = sum(discounted.values())
    total = subtotal - off + taxed
    invoice |= {
        "subtotal": subtotal, "subtotal_excluding_tax": subtotal, "total": total,
        "total_excluding_tax": total - taxed, "amount_due": max(total, 0), "amount_remaining": max(total, 0),
        "total_discount_amounts": [{"amount": amount, "discount": id} for id, amount in discounted.items()],
    }  # fmt: skip


def _coupon(world: World, discount: str) -> Object:
    return world.the(world.the(discount, "discount")["source"]["coupon"], "coupon")


def _tax(rate: str, amount: int, base: int) -> Object:
    return {
        "amount": amount, "tax_behavior": "exclusive", "tax_rate_details": {"tax_rate": rate},
        "taxability_reason": "standard_rated", "taxable_amount": base, "type": "tax_rate_details",
    }  # fmt: skip
