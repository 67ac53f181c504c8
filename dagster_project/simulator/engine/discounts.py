"""Coupons: who may redeem them, for how long, and what they take off which line.

Rules: https://docs.stripe.com/billing/subscriptions/coupons (discounts of a line come before those of the invoice, each
on what the earlier ones left; without discounts of its own an invoice has the customer's), and
https://docs.stripe.com/api/coupons/object (`applies_to`, `redeem_by`, `max_redemptions`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dagster_project.simulator.engine.pricing import amount_of, on_request, rounded
from dagster_project.simulator.engine.subscriptions import ENDED, after, save, update
from dagster_project.simulator.engine.world import Object, World, action


def check_coupon(world: World, coupon: Object) -> None:
    """Raises ValueError, in Stripe's words, for a coupon that cannot be redeemed (any more)."""
    if coupon.get("deleted") or not coupon["valid"]:
        raise ValueError(f"Coupon {coupon['id']} is not valid and cannot be redeemed.")
    if coupon["redeem_by"] is not None and coupon["redeem_by"] <= world.now:
        raise ValueError(f"Coupon expired: {coupon['id']}")
    if coupon["max_redemptions"] is not None and coupon["times_redeemed"] >= coupon["max_redemptions"]:
        raise ValueError(f"Coupon {coupon['id']} is used up and cannot be applied.")


def check_code(world: World, code: Object, customer: Object) -> None:
    """Raises ValueError for a promotion code that this customer cannot redeem (any more)."""
    if not code["active"] or (code["expires_at"] is not None and code["expires_at"] <= world.now):
        raise ValueError("This promotion code cannot be redeemed because it is expired or inactive.")
    if code["max_redemptions"] is not None and code["times_redeemed"] >= code["max_redemptions"]:
        raise ValueError("This promotion code cannot be redeemed because it was used too often.")
    if code["customer"] not in (None, customer["id"]):
        raise ValueError("This promotion code cannot be redeemed because it belongs to another customer.")
    if code["restrictions"]["first_time_transaction"]:
        paid = {"customer": customer["id"], "status": "paid"}
        if world.store.page("invoice", where=paid, limit=1)[0]:
            raise ValueError(
                "This promotion code cannot be redeemed because the associated customer has prior transactions."
            )


def _check_minimum(world: World, code: Object, owner: Object) -> None:
    """Raises ValueError when an invoice, an item of one or a subscription is worth less than a code demands."""
    least, currency = (code["restrictions"][f"minimum_amount{part}"] for part in ("", "_currency"))
    if least is None:
        return
    if owner["object"] == "subscription":
        items = owner["items"]["data"]
        worth = sum(amount_of(world, item["price"], item.get("quantity"), owner["currency"]) for item in items)
    else:
        worth = owner["subtotal" if owner["object"] == "invoice" else "amount"]
    if owner["currency"] != currency or worth < least:
        raise ValueError(
            "This promotion code cannot be redeemed because the order does not meet its minimum amount requirement."
        )


def apply_coupon(
    world: World, coupon: Object, *, customer: Object, subscription: Object | None = None, item: Object | None = None,
    invoice: Object | None = None, invoice_item: Object | None = None, promotion_code: str | None = None,
) -> str:  # fmt: skip
    """Redeem a coupon now; the id of the discount.

    The caller puts the id into the `discounts` of the subscription, item, invoice or invoice item; without any of them
    the discount becomes the customer's. Raises ValueError when the coupon or the code cannot be redeemed.
    """
    coupon = world.the(coupon["id"], "coupon")
    check_coupon(world, coupon)
    if promotion_code is not None:
        code = world.the(promotion_code, "promotion_code")
        check_code(world, code, customer)
        if owner := invoice or invoice_item or subscription:
            _check_minimum(world, code, owner)
        _count(world, code, "active")
    _count(world, coupon, "valid")
    end = after(world.now, "month", coupon["duration_in_months"], world.now) if coupon["duration_in_months"] else None
    made = world.add(
        "discount", "di", customer=customer["id"], start=world.now, end=end, promotion_code=promotion_code,
        subscription=subscription["id"] if subscription else item["subscription"] if item else None,
        subscription_item=item["id"] if item else None, invoice=invoice["id"] if invoice else None,
        invoice_item=invoice_item["id"] if invoice_item else None,
        source={"coupon": coupon["id"], "type": "coupon"},
    )  # fmt: skip
    world.emit("customer.discount.created", made)
    if not (subscription or item or invoice or invoice_item):
        world.change(customer, "customer.updated", discount=made)
    if end is not None and not (invoice or invoice_item):
        world.later(end, discount_ends, made["id"])
    return str(made["id"])


def given(world: World, rows: list[Object], *, customer: Object, **owner: Object) -> list[str]:
    """The discounts that parameters name by `coupon`, `promotion_code` or (one that is there) `discount`.

    `owner` is the subscription, item, invoice or invoice_item that gets them. Raises ValueError when one cannot be.
    """
    ids = []
    for row in rows:
        named = [name for name in ("coupon", "promotion_code", "discount") if row.get(name)]
        if len(named) != 1:
            raise ValueError("Each discount is one of these: coupon, promotion_code, discount.")
        if named == ["discount"]:
            ids.append(str(row["discount"]["id"]))
            continue
        code: Object | None = row.get("promotion_code")
        named_by_code = code["promotion"]["coupon"] if code else ""
        coupon = world.store.get(named_by_code, "coupon") if code else row["coupon"]
        if coupon is None:
            raise ValueError(f"Coupon {named_by_code} is not valid and cannot be redeemed.")
        ids.append(apply_coupon(world, coupon, customer=customer, promotion_code=code["id"] if code else None, **owner))
    return ids


def _count(world: World, redeemed: Object, open: str) -> None:
    redeemed["times_redeemed"] += 1
    if redeemed["times_redeemed"] == redeemed["max_redemptions"]:
        redeemed[open] = False
    world.store.save(redeemed)


def coupon_of(world: World, discount: str) -> Object | None:
    """The coupon of a discount, which goes on working when the coupon is deleted."""
    id = world.the(discount, "discount")["source"]["coupon"]
    found = world.store.get(id, "coupon")
    if found is not None and not found.get("deleted"):
        return found
    kept: Object | None = world.meta.get("deleted_coupons", {}).get(id)
    return kept


@action
def coupon_expires(world: World, id: str) -> None:
    """`redeem_by` has come: nobody can redeem it from now on."""
    coupon = world.store.get(id, "coupon")
    if coupon and not coupon.get("deleted") and coupon["valid"]:
        coupon["valid"] = False
        world.store.save(coupon)


@action
def discount_ends(world: World, id: str) -> None:
    """A repeating coupon has given all its months."""
    remove(world, [id])


def remove(world: World, ids: list[str]) -> None:
    """Take discounts away from the subscriptions, items and customers that have them."""
    for id in ids:
        discount = world.the(id, "discount")
        if discount["subscription"]:
            _leave_subscription(world, world.the(discount["subscription"], "subscription"), discount)
        elif not discount["invoice"] and not discount["invoice_item"]:
            customer = world.the(discount["customer"], "customer")
            if (customer.get("discount") or {}).get("id") == id:
                world.change(customer, "customer.updated", discount=None)
                world.emit("customer.discount.deleted", discount)


def _leave_subscription(world: World, sub: Object, discount: Object) -> None:
    if sub["status"] in ENDED:
        return
    id = discount["id"]
    if id in sub["discounts"]:
        update(world, sub, discounts=[each for each in sub["discounts"] if each != id])
    elif any(id in item["discounts"] for item in sub["items"]["data"]):
        before: Any = [{**item, "discounts": [*item["discounts"]]} for item in sub["items"]["data"]]
        for item in sub["items"]["data"]:
            item["discounts"] = [each for each in item["discounts"] if each != id]
        save(world, sub)
        world.emit("customer.subscription.updated", sub, {"items": {"data": before}})
    else:
        return
    world.emit("customer.discount.deleted", discount)


def tombstone(discount: Object) -> Object:
    """What is answered when a discount was taken away."""
    return {name: value for name, value in discount.items() if name != "end"} | {"deleted": True}


def drop_discounts(world: World, sub: Object, dropped: list[str]) -> None:
    """Take discounts away from a subscription, and tell."""
    update(world, sub, discounts=[id for id in sub["discounts"] if id not in dropped])
    for id in dropped:
        world.emit("customer.discount.deleted", world.the(id, "discount"))


def spend(world: World, lines: list[Object]) -> None:
    """Coupons that work once and took something off have worked: they go, wherever they were given."""
    used = {part["discount"]: part["amount"] for line in lines for part in line["discount_amounts"] if part["amount"]}
    once = []
    for id in used:
        coupon = coupon_of(world, id)
        if coupon and coupon["duration"] == "once":
            once.append(id)
    remove(world, once)


# ---- what is taken off ----------------------------------------------------------------------------------------
def take_off(world: World, invoice: Object, lines: list[Object]) -> dict[str, int]:
    """Fill `discount_amounts` of the lines of an invoice; what each discount took off in minor units.

    An amount is split over its lines in proportion, and the last of them takes what rounding left.
    """
    for line in lines:
        line["discount_amounts"] = []
        line["pretax_credit_amounts"] = []
    total: dict[str, int] = {}
    for line in lines:
        for id in line["discounts"]:
            _take(world, id, [line], invoice["currency"], total)
    for id in invoice["discounts"]:
        _take(world, id, lines, invoice["currency"], total)
    return total


def _take(world: World, id: str, lines: list[Object], currency: str, total: dict[str, int]) -> None:
    coupon = coupon_of(world, id)
    products = on_request(world, "coupon", coupon["id"]).get("applies_to", {}).get("products") if coupon else None
    eligible = [line for line in lines if line["discountable"] and _left(line) > 0 and _for(line, products)]
    if coupon is None or not eligible:
        return
    if coupon["percent_off"] is not None:
        share = Decimal(str(coupon["percent_off"]))
        amounts = [rounded(_left(line) * share / 100) for line in eligible]
    else:
        amounts = split(_amount_off(world, coupon, currency), [_left(line) for line in eligible])
    for line, amount in zip(eligible, amounts, strict=True):
        line["discount_amounts"].append({"amount": amount, "discount": id})
        line["pretax_credit_amounts"].append({"amount": amount, "discount": id, "type": "discount"})
    total[id] = total.get(id, 0) + sum(amounts)


def split(amount: int, weights: list[int]) -> list[int]:
    """An amount, at most the sum of the weights, in proportion to them; the last part takes what rounding left."""
    base = sum(weights)
    amount = min(amount, base)
    parts = [amount * weight // base for weight in weights] if base else [0 for _ in weights]
    left = amount - sum(parts)
    for place in reversed(range(len(parts))):  # never more than the line itself
        more = min(left, weights[place] - parts[place])
        parts[place] += more
        left -= more
    return parts


def _left(line: Object) -> int:
    return int(line["amount"]) - sum(part["amount"] for part in line["discount_amounts"])


def _for(line: Object, products: list[str] | None) -> bool:
    if products is None:
        return True
    details = (line["pricing"] or {}).get("price_details") or {}
    return details.get("product") in products


def _amount_off(world: World, coupon: Object, currency: str) -> int:
    if coupon["currency"] == currency:
        return int(coupon["amount_off"])
    options = on_request(world, "coupon", coupon["id"]).get("currency_options", {})
    return int(options[currency]["amount_off"]) if currency in options else 0
