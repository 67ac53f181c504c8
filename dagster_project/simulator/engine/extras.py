"""What comes along with the start or a change of a subscription: coupons, and things that are billed once.

Rules: https://docs.stripe.com/billing/subscriptions/coupons, https://docs.stripe.com/billing/invoices/subscription#adding-upcoming-invoice-items.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.discounts import apply_coupon
from dagster_project.simulator.engine.invoices import wait
from dagster_project.simulator.engine.pricing import amount_of, pricing, product_name, unit_amount
from dagster_project.simulator.engine.world import Object, World

Redeemed = tuple[Object | str, str | None]  # (coupon, promotion code), or (id of a known discount, None)


class CannotRedeem(ValueError):
    """In Stripe's words."""


@dataclass
class Extra:
    """Something that is billed once, with the next invoice."""

    price: Object
    quantity: int = 1
    tax_rates: list[str] = field(default_factory=list)
    discounts: list[Redeemed] = field(default_factory=list)
    metadata: Object = field(default_factory=dict)


def redeem(
    world: World, customer: Object, given: list[Redeemed], *, subscription: Object | None = None,
    item: Object | None = None, invoice_item: Object | None = None,
) -> list[str]:  # fmt: skip
    """The ids of discounts for these coupons. Raises CannotRedeem for one that is expired, used up or another's."""
    try:
        return [
            coupon if isinstance(coupon, str) else apply_coupon(
                world, coupon, customer=customer, subscription=subscription, item=item, invoice_item=invoice_item,
                promotion_code=code,
            )
            for coupon, code in given
        ]  # fmt: skip
    except ValueError as error:
        raise CannotRedeem(str(error)) from None


def replace(world: World, before: list[str], after: list[str]) -> list[str]:
    """The discounts from now on; those that are gone are told."""
    for id in before:
        if id not in after:
            world.emit("customer.discount.deleted", world.the(id, "discount"))
    return after


def bill_once(world: World, sub: Object, customer: Object, extra: Extra) -> Object:
    """An invoice item that waits for the next invoice of the subscription."""
    made = one_time_item(world, customer, extra, sub["currency"], sub)
    wait(world, made, sub)
    return made


def one_time_item(world: World, customer: Object, extra: Extra, currency: str, sub: Object | None = None) -> Object:
    """An invoice item of a one-time price; of a subscription, if it comes with one."""
    price = extra.price
    amount = amount_of(world, price, extra.quantity, currency)
    made = world.add(
        "invoiceitem", "ii", amount=amount, currency=currency, customer=customer["id"], date=world.now,
        description=product_name(world, price), discountable=True, discounts=[], metadata=shapes.frozen(extra.metadata),
        parent={"subscription_details": {"subscription": sub["id"]}, "type": "subscription_details"} if sub else None,
        period={"start": world.now, "end": world.now}, pricing=pricing(price, unit_amount(world, price, currency)),
        proration=False, quantity=extra.quantity, quantity_decimal=str(extra.quantity), tax_rates=extra.tax_rates,
        net_amount=amount,
    )  # fmt: skip
    made["discounts"] = redeem(world, customer, extra.discounts, invoice_item=made)
    world.emit("invoiceitem.created", made)
    return made
