"""Subscriptions that renew, change and end; invoices that are drafted, finalized, paid, retried or given up.

Rules: https://docs.stripe.com/billing/subscriptions/overview (renewal invoices stay draft for about an hour),
https://docs.stripe.com/billing/subscriptions/prorations, https://docs.stripe.com/billing/invoices/subscription.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime
from typing import Any

from dagster_project.simulator import business as b
from dagster_project.simulator import shapes
from dagster_project.simulator.payments import card, charge, intent
from dagster_project.simulator.world import Object, World, action


def after(start: int, interval: str, count: int, anchor: int) -> int:
    """The next period edge after `start`: same day of the month as the anchor, or the month's last day."""
    if interval == "day":
        return start + count * b.DAY
    if interval == "week":
        return start + 7 * count * b.DAY
    begin, day = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(anchor, UTC).day
    months = begin.year * 12 + begin.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    return int(begin.replace(year=year, month=month + 1, day=min(day, monthrange(year, month + 1)[1])).timestamp())


# ---- subscriptions ------------------------------------------------------------------------------------------
def subscribe(
    world: World, customer: Object, items: list[tuple[Object, int | None]], *, method: str, trial_days: int = 0,
    coupon: Object | None = None, promotion_code: str | None = None,
) -> Object:  # fmt: skip
    """Start a subscription now; `items` are (price, quantity or None when metered)."""
    currency = items[0][0]["currency"]
    sub = world.add(
        "subscription", "sub", customer=customer["id"], currency=currency, start_date=world.now,
        billing_cycle_anchor=world.now + trial_days * b.DAY, default_payment_method=method,
        status="trialing" if trial_days else "active", metadata={},
        payment_settings={"payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off"},
        trial_settings={"end_behavior": {"billing_cycle_anchor": None, "missing_payment_method": "create_invoice"}},
        billing_mode={"flexible": None, "type": "classic"},
    )  # fmt: skip
    if trial_days:
        sub |= {"trial_start": world.now, "trial_end": world.now + trial_days * b.DAY}
    first_end = sub["billing_cycle_anchor"] if trial_days else None
    for price, quantity in items:
        _add_item(world, sub, price, quantity, world.now, first_end or _period_end(sub, price, world.now))
    if coupon is not None:
        _apply(world, sub, coupon, promotion_code)
    _save(world, sub)
    world.emit("customer.subscription.created", sub)
    invoice = draft(world, sub, "subscription_create", _period_lines(world, sub, trial=bool(trial_days)))
    finalize(world, invoice)
    world.later(period_end(sub), period_ends, sub["id"], period_end(sub))
    return sub


def _add_item(world: World, sub: Object, price: Object, quantity: int | None, start: int, end: int) -> Object:
    item = shapes.new(
        "subscription_item", world.id("si"), created=world.now, subscription=sub["id"], price=_nested(price),
        plan=world.the(price["id"], "plan"), current_period_start=start, current_period_end=end, tax_rates=[], metadata={},
    )  # fmt: skip
    if quantity is not None:
        item["quantity"] = quantity
    sub["items"]["data"].append(item)
    return item


def _nested(price: Object) -> Object:
    """A price inside another object: what Stripe only includes on request is absent."""
    return {name: value for name, value in price.items() if name not in ("tiers", "currency_options")}


def _save(world: World, sub: Object) -> None:
    """The subscription, and its items as rows of their own."""
    sub["items"]["url"] = f"/v1/subscription_items?subscription={sub['id']}"
    world.store.save(sub)
    for item in sub["items"]["data"]:
        if world.store.get(item["id"], "subscription_item") is None:
            world.store.insert(item, parent=sub["id"])
        else:
            world.store.save(item)


def _period_end(sub: Object, price: Object, start: int) -> int:
    recurring = price["recurring"]
    return after(start, recurring["interval"], recurring["interval_count"], sub["billing_cycle_anchor"])


def period_end(sub: Object) -> int:
    return min(item["current_period_end"] for item in sub["items"]["data"])


def _update(world: World, sub: Object, **changes: Any) -> None:
    """Change a subscription and announce it; items are kept as rows too."""
    world.change(sub, "customer.subscription.updated", **changes)
    _save(world, sub)


def _items_changed(world: World, sub: Object, before: Object) -> None:
    """Announce a change of the embedded items, of which Stripe sends the whole list as it was."""
    _save(world, sub)
    world.emit("customer.subscription.updated", sub, {"items": before})


@action
def period_ends(world: World, id: str, end: int) -> None:
    """Renew, convert or end, as the customer decides."""
    sub = world.the(id)
    if sub["status"] in ("canceled", "unpaid") or period_end(sub) != end:
        return
    if sub["cancel_at_period_end"]:
        end_subscription(world, sub)
        return
    dice = world.chance("renewal", id, end)
    trial = sub["status"] == "trialing"
    if trial and dice.random() > b.TRIAL_CONVERTS:
        end_subscription(world, sub)
        return
    before = shapes.frozen(sub["items"]) if world.announces else {}
    for item in sub["items"]["data"]:
        if item["current_period_end"] <= end:
            item["current_period_start"] = end
            item["current_period_end"] = _period_end(sub, item["price"], end)
    _items_changed(world, sub, before)
    if trial:
        _update(world, sub, status="active")
    invoice = draft(world, sub, "subscription_cycle", _period_lines(world, sub, since=end))
    world.later(world.now + b.HOUR, finalize_draft, invoice["id"])
    world.later(period_end(sub), period_ends, id, period_end(sub))
    _decide(world, sub, dice, trial)


def _decide(world: World, sub: Object, dice: Any, trial: bool) -> None:
    """What the customer will do during the period that has just begun."""
    length = period_end(sub) - world.now
    yearly = length > 200 * b.DAY
    tenure = (world.now - sub["start_date"]) / (30.4 * b.DAY)
    churn = next(rate for months, rate in b.CHURN_BY_TENURE if tenure < months)
    churn = min(0.35, churn * 7) if yearly else churn
    moment = world.now + int(length * dice.uniform(0.15, 0.85))
    fate = dice.random()
    changes = (b.CHANGE_QUANTITY + b.CHANGE_PLAN) * (6 if yearly else 1)
    if not trial and fate < churn:
        world.later(moment, leaves, sub["id"])
    elif churn <= fate < churn + changes:
        share = b.CHANGE_PLAN / (b.CHANGE_PLAN + b.CHANGE_QUANTITY)
        world.later(moment, changes_plan if dice.random() < share else changes_quantity, sub["id"])


@action
def leaves(world: World, id: str) -> None:
    sub = world.the(id)
    if sub["status"] not in ("active", "past_due") or sub["cancel_at_period_end"]:
        return
    dice = world.chance("leaves", id, world.now)
    details = {"comment": None, "feedback_option": None, "feedback": dice.choice(("too_expensive", "unused", "switched_service", None)), "reason": "cancellation_requested"}
    if dice.random() < b.CANCEL_NOW:
        sub["cancellation_details"] = details
        end_subscription(world, sub)
        return
    _update(
        world, sub, cancel_at_period_end=True, cancel_at=period_end(sub), canceled_at=world.now, cancellation_details=details
    )
    if dice.random() < b.CHANGE_MIND:
        world.later(min(world.now + 3 * b.DAY, period_end(sub) - b.HOUR), stays, id)


@action
def stays(world: World, id: str) -> None:
    sub = world.the(id)
    if sub["cancel_at_period_end"] and sub["status"] != "canceled":
        _update(
            world, sub, cancel_at_period_end=False, cancel_at=None, canceled_at=None,
            cancellation_details={"comment": None, "feedback_option": None, "feedback": None, "reason": None},
        )  # fmt: skip


def end_subscription(world: World, sub: Object) -> Object:
    """Canceled for good; the event that says so is called `deleted` and carries the whole object."""
    sub |= {"status": "canceled", "ended_at": world.now, "canceled_at": sub["canceled_at"] or world.now}
    sub["cancel_at_period_end"] = False if sub["cancel_at"] is None else sub["cancel_at_period_end"]
    world.store.save(sub)
    world.emit("customer.subscription.deleted", sub)
    return sub


@action
def changes_quantity(world: World, id: str) -> None:
    sub = world.the(id)
    if sub["status"] != "active":
        return
    dice = world.chance("quantity", id, world.now)
    old = sub["items"]["data"][0]["quantity"]
    step = max(1, old * dice.randint(10, 50) // 100)
    new = old + step if dice.random() < b.UPWARD else max(1, old - step)
    change_item(world, sub, sub["items"]["data"][0]["price"], new)


@action
def changes_plan(world: World, id: str) -> None:
    sub = world.the(id)
    if sub["status"] != "active":
        return
    item = sub["items"]["data"][0]
    names = list(b.PLANS)
    product = world.the(item["price"]["product"])["name"]
    up = world.chance("plan", id, world.now).random() < b.UPWARD
    place = min(max(names.index(product) + (1 if up else -1), 0), len(names) - 1)
    price = world.store.meta["prices"][f"{names[place]}/{sub['currency']}/{item['price']['recurring']['interval']}"]
    change_item(world, sub, world.the(price, "price"), item["quantity"])


def change_item(world: World, sub: Object, price: Object, quantity: int) -> None:
    """Change the first item with proration: a credit for the unused time, a debit for the remaining, on the next invoice."""
    item = sub["items"]["data"][0]
    if item["price"]["id"] == price["id"] and item["quantity"] == quantity:
        return
    start, end, now = item["current_period_start"], item["current_period_end"], world.now
    share = (end - now) / (end - start)
    unused = -round(amount_of(item["price"], item["quantity"]) * share)
    remaining = round(amount_of(price, quantity) * share)
    before = shapes.frozen(sub["items"]) if world.announces else {}
    old_price, old_quantity = item["price"], item["quantity"]
    item |= {"price": _nested(price), "plan": world.the(price["id"], "plan"), "quantity": quantity}
    _items_changed(world, sub, before)
    for text, amount, of, count in (
        ("Unused time on", unused, old_price, old_quantity), ("Remaining time on", remaining, price, quantity)
    ):  # fmt: skip
        made = world.add(
            "invoiceitem", "ii", amount=amount, currency=sub["currency"], customer=sub["customer"], date=now,
            description=f"{text} {count} × {_product_name(world, of)}", discountable=False, discounts=[], metadata={},
            parent={"subscription_details": {"subscription": sub["id"], "subscription_item": item["id"]},
                    "type": "subscription_details"},
            period={"start": now, "end": end}, pricing=_pricing(of), proration=True, quantity=count, quantity_decimal=str(count),
            tax_rates=[], net_amount=amount,
        )  # fmt: skip
        world.emit("invoiceitem.created", made)
        world.store.meta.setdefault("waiting", {}).setdefault(sub["id"], []).append(made["id"])


# ---- prices and discounts -----------------------------------------------------------------------------------
def amount_of(price: Object, quantity: int | None) -> int:
    """List amount of one period in minor units; graduated tiers by https://docs.stripe.com/products-prices/pricing-models."""
    if price["recurring"] and price["recurring"]["usage_type"] == "metered":
        return 0
    if price["billing_scheme"] == "per_unit":
        return int(price["unit_amount"]) * (quantity or 0)
    units = quantity or 0
    first, rest = price["metadata"]["first"], price["metadata"]["rest"]
    return min(units, 10) * int(first) + max(units - 10, 0) * int(rest)


def _apply(world: World, sub: Object, coupon: Object, promotion_code: str | None) -> None:
    end = None
    if coupon["duration"] == "repeating":
        end = after(sub["billing_cycle_anchor"], "month", coupon["duration_in_months"], sub["billing_cycle_anchor"])
    made = world.add(
        "discount", "di", customer=sub["customer"], subscription=sub["id"], start=world.now, end=end,
        source={"coupon": coupon["id"], "type": "coupon"}, promotion_code=promotion_code,
    )  # fmt: skip
    sub["discounts"] = [made["id"]]
    coupon = world.the(coupon["id"], "coupon")
    coupon["times_redeemed"] += 1
    world.store.save(coupon)
    if end is not None:
        world.later(end, discount_ends, sub["id"], made["id"])


@action
def discount_ends(world: World, sub_id: str, discount: str) -> None:
    sub = world.the(sub_id)
    if discount in sub["discounts"] and sub["status"] != "canceled":
        _update(world, sub, discounts=[id for id in sub["discounts"] if id != discount])


# ---- invoices -----------------------------------------------------------------------------------------------
def _period_lines(world: World, sub: Object, *, trial: bool = False, since: int | None = None) -> list[Object]:
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
        lines.append(
            _line(
                world, f"{text} {_product_name(world, price)}", amount, sub["currency"], price, quantity, start, end,
                subscription=sub["id"], item=item["id"],
            )  # fmt: skip
        )
    return lines


def _usage(world: World, sub: Object, item: Object, end: int) -> tuple[int, int, int]:
    """(units used in the period that ended, its start, its end)."""
    start = max(sub["start_date"], end - 31 * b.DAY)
    return world.chance("usage", item["id"], end).randint(200, 4000), start, end


def _line(
    world: World, description: str, amount: int, currency: str, price: Object, quantity: int, start: int, end: int, *,
    subscription: str | None, item: str | None = None, invoice_item: Object | None = None,
) -> Object:  # fmt: skip
    details: Object = {"invoice_item": invoice_item["id"] if invoice_item else None, "proration": invoice_item is not None,
                       "proration_details": {"credited_items": None}, "subscription": subscription}  # fmt: skip
    kind = "invoice_item_details" if invoice_item else "subscription_item_details"
    if not invoice_item:
        details["subscription_item"] = item
    return shapes.new(
        "line_item", world.id("il"), amount=amount, subtotal=amount, currency=currency, description=description,
        discountable=invoice_item is None, discount_amounts=[], discounts=[], metadata={}, pretax_credit_amounts=[], taxes=[],
        parent={"invoice_item_details": None, "subscription_item_details": None, "type": kind} | {kind: details},
        period={"start": start, "end": end}, pricing=_pricing(price), quantity=quantity, quantity_decimal=str(quantity),
        subscription=subscription,
    )  # fmt: skip


def _pricing(price: Object) -> Object:
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def _product_name(world: World, price: Object) -> str:
    return str(world.the(price["product"])["name"])


def draft(world: World, sub: Object, reason: str, lines: list[Object]) -> Object:
    """A draft invoice of a subscription, with what waited for it; discounts and tax are worked out line by line."""
    customer = world.the(sub["customer"])
    for id in world.store.meta.get("waiting", {}).pop(sub["id"], []):
        waiting = world.the(id)
        price = world.the(waiting["pricing"]["price_details"]["price"], "price")
        period = waiting["period"]
        lines.append(
            _line(
                world, waiting["description"], waiting["amount"], sub["currency"], price, waiting["quantity"], period["start"],
                period["end"], subscription=sub["id"], invoice_item=waiting,
            )  # fmt: skip
        )
    invoice = world.add(
        "invoice", "in", customer=customer["id"], currency=sub["currency"], billing_reason=reason, account_country="US",
        account_name="Ledgerline Demo", customer_email=customer["email"], customer_name=customer["name"],
        customer_address=customer["address"], customer_phone=customer["phone"], customer_shipping=None, customer_tax_exempt="none",
        customer_tax_ids=[], default_payment_method=None, period_start=world.now, period_end=world.now, metadata={}, status="draft",
        automatically_finalizes_at=world.now + b.HOUR if reason == "subscription_cycle" else None, discounts=[*sub["discounts"]],
        starting_balance=customer["balance"], total_discount_amounts=[], total_pretax_credit_amounts=[], total_taxes=[],
        parent={"quote_details": None, "subscription_details": {"metadata": {}, "subscription": sub["id"]}, "type": "subscription_details"},
        payment_settings={"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        status_transitions={"finalized_at": None, "marked_uncollectible_at": None, "paid_at": None, "voided_at": None},
    )  # fmt: skip
    for line in lines:
        line["invoice"] = invoice["id"]
        if details := line["parent"]["invoice_item_details"]:
            waiting = world.the(details["invoice_item"])
            waiting["invoice"] = invoice["id"]
            world.store.save(waiting)
    _total(world, sub, customer, invoice, lines)
    for line in reversed(lines):  # the newest row of the list is the first line
        world.store.insert(line, parent=invoice["id"])
    invoice["lines"] = shapes.embedded(f"/v1/invoices/{invoice['id']}/lines", lines)
    world.store.save(invoice, subscription=sub["id"])
    world.emit("invoice.created", invoice)
    _update(world, sub, latest_invoice=invoice["id"])
    once = [id for id in sub["discounts"] if _coupon(world, id)["duration"] == "once"]
    if once and invoice["total"] > 0:
        _update(world, sub, discounts=[id for id in sub["discounts"] if id not in once])
    return invoice


def _coupon(world: World, discount: str) -> Object:
    return world.the(world.the(discount, "discount")["source"]["coupon"], "coupon")


def _total(world: World, sub: Object, customer: Object, invoice: Object, lines: list[Object]) -> None:
    discounted: dict[str, int] = {}
    for discount in sub["discounts"]:
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
            tax = round(base * b.TAX_PERCENT / 100)
            line["taxes"] = [_tax(rate, tax, base)]
            taxed += tax
            base_in_all += base
        invoice["total_taxes"] = [_tax(rate, taxed, base_in_all)]
    subtotal = sum(line["amount"] for line in lines)
    off = sum(discounted.values())
    total = subtotal - off + taxed
    invoice |= {
        "subtotal": subtotal, "subtotal_excluding_tax": subtotal, "total": total, "total_excluding_tax": total - taxed,
        "amount_due": max(total, 0), "amount_remaining": max(total, 0),
        "total_discount_amounts": [{"amount": amount, "discount": id} for id, amount in discounted.items()],
    }  # fmt: skip


def _tax(rate: str, amount: int, base: int) -> Object:
    return {
        "amount": amount, "tax_behavior": "exclusive", "tax_rate_details": {"tax_rate": rate}, "taxability_reason": "standard_rated",
        "taxable_amount": base, "type": "tax_rate_details",
    }  # fmt: skip


@action
def finalize_draft(world: World, id: str) -> None:
    invoice = world.the(id)
    if invoice["status"] == "draft":
        finalize(world, invoice)


def finalize(world: World, invoice: Object) -> None:
    """Open the invoice, use the customer's credit, and try to collect the rest.

    A negative total becomes credit on the customer's balance; nothing to collect means paid.
    """
    customer = world.the(invoice["customer"])
    number = world.number("invoice number")
    transitions = invoice["status_transitions"] | {"finalized_at": world.now}
    starting, total = customer["balance"], invoice["total"]
    ending = min(starting + total, 0) if starting <= 0 else 0
    due = max(total + starting - ending, 0) if total > 0 else 0
    if starting != ending:
        _credit(world, customer, ending - starting, "applied_to_invoice", invoice["id"])
    world.change(
        invoice, "invoice.finalized", status="open", status_transitions=transitions, number=f"LL-{number:06d}",
        effective_at=world.now, starting_balance=starting, ending_balance=ending, amount_due=due, amount_remaining=due,
        automatically_finalizes_at=None, hosted_invoice_url=f"https://invoice.example.com/i/{invoice['id']}",
        invoice_pdf=f"https://invoice.example.com/i/{invoice['id']}/pdf",
    )  # fmt: skip
    if due == 0:
        _paid(world, invoice, 0)
    else:
        collect(world, invoice)


def collect(world: World, invoice: Object) -> bool:
    """Try to take the money now; on failure plan the next attempt, or give up after the last. True when paid."""
    sub = world.the(invoice["parent"]["subscription_details"]["subscription"])
    customer = world.the(invoice["customer"])
    payments = world.store.meta.setdefault("intents", {})
    if invoice["id"] in payments:
        payment = world.the(payments[invoice["id"]])
    else:
        text = "Subscription update" if invoice["billing_reason"] == "subscription_cycle" else "Subscription creation"
        payment = intent(world, customer, invoice["amount_due"], invoice["currency"], sub["default_payment_method"], text)
        payments[invoice["id"]] = payment["id"]
        world.add(
            "invoice_payment", "inpay", invoice=invoice["id"], currency=invoice["currency"], amount_requested=invoice["amount_due"],
            amount_paid=None, is_default=True, status="open", id=_payment_id(payment["id"]),
            payment={"payment_intent": payment["id"], "type": "payment_intent"},
        )  # fmt: skip
    attempt = invoice["attempt_count"] + 1
    odds = b.RETRY_WORKS if attempt > 1 else 1 - b.CARD_FAILS
    first = invoice["billing_reason"] == "subscription_create"  # who cannot pay at all never becomes a customer
    works = first or world.chance("collect", invoice["id"], attempt).random() < odds
    charge(world, payment, customer, works=works)
    if works:
        done = world.the(_payment_id(payment["id"]))
        done |= {"status": "paid", "amount_paid": invoice["amount_due"],
                 "status_transitions": {"canceled_at": None, "paid_at": world.now}}  # fmt: skip
        world.store.save(done)
        world.emit("invoice_payment.paid", done)
        _paid(world, invoice, invoice["amount_due"], attempt_count=attempt)
        payments.pop(invoice["id"])
        if sub["status"] == "past_due":
            _update(world, sub, status="active")
        return True
    last = attempt > len(b.RETRY_DAYS)
    following = None if last else world.now + b.RETRY_DAYS[attempt - 1] * b.DAY
    world.change(
        invoice, "invoice.payment_failed", next_payment_attempt=following, attempt_count=attempt, attempted=True
    )
    if following is None:
        payments.pop(invoice["id"])
        _give_up(world, invoice, sub)
    else:
        if sub["status"] == "active":
            _update(world, sub, status="past_due")
        world.later(following, retry, invoice["id"])
    return False


@action
def retry(world: World, id: str) -> None:
    invoice = world.the(id)
    if invoice["status"] == "open":
        collect(world, invoice)


def _paid(world: World, invoice: Object, amount: int, **changes: Any) -> None:
    transitions = invoice["status_transitions"] | {"paid_at": world.now}
    world.change(
        invoice, "invoice.paid", status="paid", status_transitions=transitions, amount_paid=amount, amount_remaining=0,
        next_payment_attempt=None, attempted=True, **changes,
    )  # fmt: skip
    world.emit("invoice.payment_succeeded", invoice)


def _give_up(world: World, invoice: Object, sub: Object) -> None:
    transitions = invoice["status_transitions"] | {"marked_uncollectible_at": world.now}
    world.change(invoice, "invoice.marked_uncollectible", status="uncollectible", status_transitions=transitions)
    if sub["status"] != "canceled":
        sub["cancellation_details"] = {"comment": None, "feedback_option": None, "feedback": None, "reason": "payment_failed"}
        end_subscription(world, sub)


# ---- customer credit and credit notes -----------------------------------------------------------------------
def _credit(world: World, customer: Object, amount: int, kind: str, invoice: str | None = None) -> Object:
    ending = customer["balance"] + amount
    made = world.add(
        "customer_balance_transaction", "cbtxn", within=customer["id"], amount=amount, customer=customer["id"], type=kind,
        currency=customer["currency"], ending_balance=ending, invoice=invoice, metadata={},
    )  # fmt: skip
    world.change(customer, "customer.updated", balance=ending)
    return made


@action
def gives_credit(world: World, customer_id: str) -> None:
    """A gesture of goodwill: half a month's price as credit."""
    customer = world.the(customer_id)
    if not customer.get("deleted"):
        _credit(world, customer, -1000 if customer["currency"] != "jpy" else -1500, "adjustment")


def credit_note_for_refund(world: World, refund: Object) -> None:
    """The correction of the invoice that belongs to a refund of its payment."""
    paid = world.store.get(_payment_id(refund["payment_intent"]))
    if paid is None:
        return
    invoice = world.the(paid["invoice"])
    amount = refund["amount"]
    line = shapes.new(
        "credit_note_line_item", world.id("cnli"), amount=amount, description="Goodwill", type="custom_line_item", quantity=1,
        unit_amount=amount, unit_amount_decimal=str(amount),
    )  # fmt: skip
    note = world.add(
        "credit_note", "cn", amount=amount, subtotal=amount, total=amount, currency=invoice["currency"], metadata={},
        customer=invoice["customer"], invoice=invoice["id"], number=f"{invoice['number']}-CN-01", reason="order_change",
        status="issued", type="post_payment", post_payment_amount=amount, pre_payment_amount=0, effective_at=world.now,
        subtotal_excluding_tax=amount, total_excluding_tax=amount, total_taxes=[], pdf=f"https://invoice.example.com/cn/{invoice['id']}",
        refunds=[{"amount_refunded": amount, "payment_record_refund": None, "refund": refund["id"], "type": "refund"}],
    )  # fmt: skip
    world.store.insert(line, parent=note["id"])
    note["lines"] = shapes.embedded(f"/v1/credit_notes/{note['id']}/lines", [line])
    world.store.save(note)
    world.emit("credit_note.created", note)
    world.change(
        invoice, "invoice.updated", post_payment_credit_notes_amount=invoice["post_payment_credit_notes_amount"] + amount
    )


def _payment_id(payment_intent: str) -> str:
    """An invoice is paid by one intent here, so the invoice payment's id follows from the intent's."""
    return f"inpay_{payment_intent[3:]}"


__all__ = ["card", "collect", "draft", "end_subscription", "finalize", "subscribe"]
