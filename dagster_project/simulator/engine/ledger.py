"""The Stripe balance: every movement is a balance transaction, pending until its money is available."""

from __future__ import annotations

import heapq
from typing import Any

from dagster_project.simulator.engine import ids, settlement
from dagster_project.simulator.engine.business import DAY, HOUR
from dagster_project.simulator.engine.settlement import detail
from dagster_project.simulator.engine.world import ACTIONS, Object, World

INSTANT = ("aud", "cad", "eur", "gbp", "sgd", "usd")  # https://docs.stripe.com/payouts/instant-payouts


def book(
    world: World, type: str, category: str, source: str | None, amount: int, currency: str, *,
    fee: int = 0, fee_description: str = "Stripe processing fees", available_on: int | None = None,
    description: str | None = None, processing: str | None = None, application_fee: int = 0,
    rate: Any = None,
) -> Object:  # fmt: skip
    """Add a balance transaction and move the balance, `net = amount - fee`; without `available_on` available now.

    `amount`, and the `application_fee` that a platform takes of a charge of its connected account, are in the currency
    that the customer saw. Where the account has no balance in it, the row is in the account's default currency, at
    today's `rate` unless given. `fee` is in the row's currency, negative when Stripe gives it back; `processing` names
    the method of payment whose price Stripe takes, or is `dispute` or `instant_payout`.
    """
    settled = settlement.currency_of(world, currency)
    if settled != currency:
        rate = rate or settlement.rate(world, currency, settled)
        amount, application_fee = (
            settlement.convert(each, currency, settled, rate) if each else 0 for each in (amount, application_fee)
        )
    else:
        rate = None
    details = [detail("stripe_fee", fee, settled, fee_description)] if fee else []
    separate = 0
    if processing is not None:
        prices, separate = _prices(world, processing, amount, settled, fee_description, converted=rate is not None)
        details += prices
    if details and world.business.tax_on_fees:
        tax, name = settlement.tax_on(world, sum(each["amount"] for each in details))
        if tax:
            details.append(detail("tax", tax, settled, name))
    payer = world
    if processing is not None and _platform_pays(world, processing):
        payer = world.platform
        if total := sum(each["amount"] for each in details):
            words = f"{fee_description} for {source} of {world.id_of_account}"
            book(payer, "stripe_fee", "fee", None, -total, settled, available_on=available_on, description=words)
        details = []
    if application_fee and world is not world.platform:
        details.append(detail("application_fee", application_fee, settled, "Application fee", application(world)))
    # The balance is the account's, and so is its time, also where the customer lives on a test clock.
    ahead = world.now - world.store.now
    if available_on is not None:
        available_on -= ahead
    if "days" not in world.platform.meta:
        _start_days(world.platform)
    fee = sum(each["amount"] for each in details)
    available = available_on is None or available_on <= world.store.now
    row = world.add(
        "balance_transaction", "txn", type=type, reporting_category=category, source=source, amount=amount,
        fee=fee, net=amount - fee, currency=settled, fee_details=details, balance_type="payments",
        created=world.store.now, status="available" if available else "pending",
        available_on=world.store.now if available else available_on,
        description=description, exchange_rate=None if rate is None else float(rate),
    )  # fmt: skip
    money = world.balance.setdefault(settled, {"available": 0, "pending": 0})
    if available:
        money["available"] += row["net"]
        if type != "payout":
            world.unpaid.setdefault(settled, []).append([row["id"], row["net"]])
    else:
        money["pending"] += row["net"]
        heapq.heappush(world.pending, [available_on, row["id"], row["net"], settled])
    if separate:
        book(
            payer, "stripe_fx_fee", "fee", source if payer is world else None, -separate, settled,
            available_on=available_on, description="Currency conversion fee",
        )  # fmt: skip
    return row


def _prices(
    world: World, processing: str, amount: int, currency: str, description: str, *, converted: bool
) -> tuple[list[Object], int]:
    """(what Stripe takes, what it takes for the conversion in a row of its own)."""
    if processing == "dispute":
        return [detail("stripe_fee", settlement.dispute_fee(world, currency), currency, "Dispute fee")], 0
    if processing == "instant_payout":
        return [detail("stripe_fee", settlement.instant_fee(world, -amount), currency, "Instant Payouts fee")], 0
    price = settlement.processing_fee(world, processing, amount, currency)
    prices = [detail("stripe_fee", price, currency, description)] if price else []
    price = settlement.share(amount, world.business.fx_fee) if converted else 0
    if world.business.fx_fee_separate:
        return prices, price
    if price:
        prices.append(detail("stripe_fee", price, currency, "Stripe currency conversion fee"))
    return prices, 0


def _platform_pays(world: World, processing: str) -> bool:
    """Whether the platform pays what Stripe takes on a connected account.

    Source: https://docs.stripe.com/connect/direct-charges-fee-payer-behavior
    """
    if world is world.platform:
        return False
    account = world.platform.store.get(world.id_of_account, "account") or {}
    payer = account.get("controller", {}).get("fees", {}).get("payer", "account")
    return bool(payer == "application" or (payer != "account" and processing == "instant_payout"))


def application(world: World) -> str:
    """The id of the platform's application, in whose name fees are taken from connected accounts."""
    return str(world.platform.meta.setdefault("application", ids.make(world.seed, "ca", 1)))


def _start_days(platform: World) -> None:
    """From the first movement on, days end: see payouts.day_ends."""
    platform.meta["days"] = True
    with platform.on(None):
        platform.later((platform.now // DAY + 1) * DAY + HOUR // 4, ACTIONS["day_ends"])


def becomes_available(world: World) -> list[Object]:
    """Turn what is due from pending to available; these rows. Stripe announces no change of a balance transaction."""
    rows = []
    while world.pending and world.pending[0][0] <= world.now:
        _, id, net, currency = heapq.heappop(world.pending)
        rows.append(world.change(world.the(id, "balance_transaction"), None, status="available"))
        world.balance[currency]["pending"] -= net
        world.balance[currency]["available"] += net
        world.unpaid.setdefault(currency, []).append([id, net])
    return rows


def available(world: World, currency: str) -> int:
    return world.balance.get(currency, {"available": 0})["available"]


def balance_object(world: World) -> dict[str, Any]:
    """What `/v1/balance` answers. All money counts as `card`: only legacy ACH payments do not."""

    def part(name: str) -> list[dict[str, Any]]:
        return [
            {"amount": money[name], "currency": currency, "source_types": {"card": money[name]}}
            for currency, money in sorted(world.balance.items())
        ]

    shown = {
        "object": "balance",
        "available": part("available"),
        "instant_available": [
            {**row, "amount": (most := max(0, row["amount"])), "source_types": {"card": most}}
            for row in part("available")
            if row["currency"] in INSTANT
        ],
        "livemode": world.livemode,
        "pending": part("pending"),
    }
    if world.meta.get("accounts"):
        reserved = world.meta.get("connect_reserved", {})
        shown["connect_reserved"] = [
            {"amount": reserved.get(currency, 0), "currency": currency} for currency in sorted(world.balance)
        ]
    return shown
