"""A marketplace: sellers who are connected to the platform, and the orders of its buyers.

Rules: https://docs.stripe.com/connect/charges (a standard seller charges the buyer itself, an express seller is the
destination of the platform's charge, custom sellers get transfers out of it).
"""

from __future__ import annotations

from math import log
from random import Random
from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import connect, settlement
from dagster_project.simulator.engine.accounts import create_connected
from dagster_project.simulator.engine.arrivals import create_customer, customer_with_card
from dagster_project.simulator.engine.cards import card
from dagster_project.simulator.engine.payments import charge, intent
from dagster_project.simulator.engine.refunds import refund
from dagster_project.simulator.engine.world import Object, World, action


def invite_sellers(world: World, buyers: int, days: int) -> None:
    """Half of the sellers are there on the first day, the others join as the marketplace grows."""
    numbers: Any = world.business
    count = max(4, buyers // numbers.buyers_per_seller)
    for number in range(count):
        if number < (count + 1) // 2:
            seller_joins(world, number)
        else:
            place = number - count // 2
            world.later(world.now + place * days * b.DAY // count, seller_joins, number)


@action
def seller_joins(world: World, number: int) -> None:
    numbers, dice = _numbers(world), world.chance("seller", number)
    kinds = list(numbers.sellers)
    # The first ones show every kind, whatever the dice say.
    kind = kinds[number] if number < len(kinds) else dice.choices(kinds, list(numbers.sellers.values()))[0]
    country = "US" if number < len(kinds) else dice.choice(numbers.seller_countries)
    name = f"{dice.choice(b.COMPANIES)} {dice.choice(b.LAST_NAMES)}"
    create_connected(world, kind, country, name=name, email=f"seller{number}@example.com")


@action
def buyer_arrives(world: World, number: int) -> None:
    """A new customer of the platform with a card, who orders at once and perhaps again."""
    dice = world.chance("buyer", number)
    buyer, _ = customer_with_card(world, dice)
    at = world.now
    for order in range(1 + int(dice.expovariate(1 / _numbers(world).further_orders))):
        world.later(at, orders, buyer["id"], order)
        at += dice.randint(*_numbers(world).order_gap) * b.DAY + dice.randint(0, b.DAY)


@action
def orders(world: World, buyer_id: str, number: int) -> None:
    """An order of a buyer; early sellers sell most."""
    numbers, dice = _numbers(world), world.chance("order", buyer_id, number)
    buyer = world.the(buyer_id, "customer")
    sellers = world.meta["accounts"]
    seller = dice.choices(sellers, [1 / place for place in range(1, len(sellers) + 1)])[0]
    median, spread = numbers.order_amount
    dollars = int(dice.lognormvariate(log(median), spread)) + 500
    amount = settlement.convert(dollars, "usd", buyer["currency"], settlement.rate(world, "usd", buyer["currency"]))
    works = dice.random() >= numbers.card_fails
    kind = world.the(seller, "account")["type"]
    if kind == "standard":
        _charged_by_the_seller(world, dice, seller, buyer, amount, works)
        return
    payment = intent(
        world, buyer, amount, buyer["currency"], buyer["invoice_settings"]["default_payment_method"], "Order"
    )  # fmt: skip
    if kind == "express":
        # Half of the platforms of this kind take a fee, the others keep what they do not pass on.
        share = settlement.share(amount, str(numbers.platform_share))
        if dice.random() < 0.5:
            connect.route(world, payment, destination=seller, fee=share)
        else:
            connect.route(world, payment, destination=seller, amount=amount - share)
    made = charge(world, payment, buyer, works=works)
    if not made["paid"]:
        return
    if kind == "custom":
        _shared_out(world, dice, made, seller)
    _may_come_back(world, dice, world, made)


def _charged_by_the_seller(world: World, dice: Random, seller: str, buyer: Object, amount: int, works: bool) -> None:
    """The buyer is a customer of the seller, too; the platform takes its fee from the seller's charge."""
    there = world.within(seller)
    known = there.meta.setdefault("buyers", {})
    if buyer["id"] not in known:
        customer = create_customer(there, dice, buyer["currency"])
        known[buyer["id"]] = [customer["id"], card(there, customer)["id"]]
    id, method = known[buyer["id"]]
    customer = there.the(id, "customer")
    payment = intent(there, customer, amount, buyer["currency"], method, "Order")
    connect.route(there, payment, fee=settlement.share(amount, str(_numbers(world).platform_share)))
    made = charge(there, payment, customer, works=works)
    if made["paid"]:
        _may_come_back(world, dice, there, made)


def _shared_out(world: World, dice: Random, made: Object, seller: str) -> None:
    """The money of an order goes to its sellers, less what the platform keeps."""
    row = world.the(made["balance_transaction"], "balance_transaction")
    left = row["amount"] - settlement.share(row["amount"], str(_numbers(world).platform_share))
    receivers = [seller]
    others = [id for id in world.meta["accounts"] if world.the(id, "account")["type"] == "custom" and id != seller]
    if others and dice.random() < 0.4:
        receivers.append(dice.choice(others))
    for place, receiver in enumerate(receivers):
        part = left // (len(receivers) - place)
        left -= part
        sent = connect.transfer(
            world, receiver, part, row["currency"], charge=made, group=f"order_{made['id']}", description="Order"
        )
        if dice.random() < _numbers(world).transfer_reversed:
            world.later(world.now + dice.randint(1, 9) * b.DAY, transfer_is_reversed, sent["id"])


@action
def transfer_is_reversed(world: World, id: str) -> None:
    """A part of an order was not delivered."""
    sent = world.the(id, "transfer")
    if left := sent["amount"] - sent["amount_reversed"]:
        connect.reverse(world, sent, max(1, left // 4))


def _may_come_back(world: World, dice: Random, there: World, made: Object) -> None:
    numbers = _numbers(world)
    if dice.random() < numbers.order_refund:
        after = dice.randint(*numbers.order_refund_after) * b.DAY
        there.later(world.now + after, order_comes_back, made["id"])


@action
def order_comes_back(world: World, charge_id: str) -> None:
    """A refund, in the world where the charge is; of some the seller's share and the platform's fee come back, too."""
    numbers, dice = _numbers(world), world.chance("order back", charge_id)
    made = world.the(charge_id, "charge")
    if made["disputed"] or made["amount_refunded"]:
        return
    part = made["amount"] if dice.random() > numbers.order_refund_partial else max(1, made["amount"] * 3 // 10)
    back = refund(world, made, part, reason="requested_by_customer")
    connect.after_refund(
        world, back, made,
        reverse_transfer=dice.random() < numbers.transfer_returns,
        refund_application_fee=dice.random() < numbers.fee_returns,
    )  # fmt: skip


def _numbers(world: World) -> Any:
    return world.business
