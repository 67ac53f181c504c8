"""Money between a platform and its connected accounts: transfers, application fees, and both taken back.

Each movement is a pair: a balance transaction here and one in the other account's own world.
Sources: https://docs.stripe.com/connect/destination-charges, https://docs.stripe.com/connect/direct-charges,
https://docs.stripe.com/connect/separate-charges-and-transfers
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dagster_project.simulator.engine import settlement
from dagster_project.simulator.engine.ledger import application, book
from dagster_project.simulator.engine.world import Object, World


def route(
    world: World, intent: Object, *, destination: str | None = None, amount: int | None = None, fee: int = 0
) -> None:
    """Say, before a payment intent is charged, to whom its money goes and what the platform takes of it.

    In the platform's world: a destination charge, with `amount` (None: all) for `destination`. In the world of a
    connected account: a direct charge, of which the platform takes `fee`. Amounts in the intent's currency.
    """
    changes: Object = {"application_fee_amount": fee or None}
    if destination is not None:
        data: Object = {"destination": destination}
        changes["transfer_data"] = data if amount is None else data | {"amount": amount}
        changes["transfer_group"] = intent["transfer_group"] or f"group_{intent['id']}"
    if world is not world.platform:
        changes["application"] = application(world)
    world.change(intent, None, **changes)


def fields_of(world: World, intent: Object) -> Object:
    """What a charge takes over from its payment intent."""
    data = intent.get("transfer_data")
    return {
        "application": intent["application"],
        "application_fee_amount": intent["application_fee_amount"],
        "on_behalf_of": intent["on_behalf_of"],
        "transfer_data": data and {"amount": data.get("amount"), "destination": data["destination"]},
        "transfer_group": intent["transfer_group"],
    }


def after_charge(world: World, charge: Object, payment_intent: Object | None) -> None:
    """A charge was booked: the platform takes its fee, or passes the money on.

    The charge must have its balance transaction; it is changed silently, so call this before announcing it.
    """
    if payment_intent is not None:
        charge |= {name: value for name, value in fields_of(world, payment_intent).items() if value is not None}
    fee = charge["application_fee_amount"] or 0
    if world is not world.platform:
        if fee:
            taken = _application_fee(world, charge, fee, charge["currency"], originating=None)
            charge |= {"application_fee": taken["id"], "application": application(world)}
    elif charge["transfer_data"]:
        row = world.the(charge["balance_transaction"], "balance_transaction")
        part = charge["transfer_data"]["amount"]
        charge["transfer_group"] = charge["transfer_group"] or f"group_{charge['payment_intent'] or charge['id']}"
        sent = transfer(
            world, charge["transfer_data"]["destination"],
            row["amount"] if part is None else _settled(part, charge, row), row["currency"],
            charge=charge, group=charge["transfer_group"], application_fee=_settled(fee, charge, row) if fee else 0,
        )  # fmt: skip
        charge["transfer"] = sent["id"]
        if fee:
            there = world.within(sent["destination"])
            charge["application_fee"] = there.the(sent["destination_payment"], "charge")["application_fee"]
    world.store.save(charge)


def _settled(amount: int, charge: Object, row: Object) -> int:
    """An amount of a charge's currency at the rate at which the charge was booked."""
    if row["exchange_rate"] is None:
        return amount
    return settlement.convert(amount, charge["currency"], row["currency"], Decimal(str(row["exchange_rate"])))


def transfer(
    world: World, destination: str, amount: int, currency: str, *, charge: Object | None = None,
    group: str | None = None, description: str | None = None, metadata: dict[str, str] | None = None,
    application_fee: int = 0,
) -> Object:  # fmt: skip
    """Move money from the platform to a connected account, where it arrives as a payment.

    Money of a `charge` may be sent before it is available, and is available there when the charge is here.
    Raises KeyError for an account that is not connected.
    """
    there = world.within(destination)
    available_on = None
    if charge is not None:
        available_on = world.the(charge["balance_transaction"], "balance_transaction")["available_on"]
    made = world.add(
        "transfer", "tr", amount=amount, currency=currency, destination=destination, description=description,
        metadata=metadata or {}, source_transaction=charge and charge["id"], source_type="card", transfer_group=group,
    )  # fmt: skip
    made["reversals"] = {**made["reversals"], "url": f"/v1/transfers/{made['id']}/reversals"}
    row = book(world, "transfer", "transfer", made["id"], -amount, currency, available_on=available_on)
    payment = there.add(
        "charge", "py", amount=amount, amount_captured=amount, currency=currency, captured=True, paid=True,
        status="succeeded", source_transfer=made["id"], fraud_details={}, created=made["created"],
        payment_method_details={"type": "stripe_account", "stripe_account": {}},
    )  # fmt: skip
    arrived = book(
        there, "payment", "charge", payment["id"], amount, currency, available_on=available_on,
        application_fee=application_fee,
    )  # fmt: skip
    payment["balance_transaction"] = arrived["id"]
    if application_fee:
        origin = charge["id"] if charge else None
        payment |= {"application_fee_amount": application_fee, "application": application(world)}
        payment["application_fee"] = _application_fee(there, payment, application_fee, currency, originating=origin)[
            "id"
        ]
    there.store.save(payment)
    made |= {"balance_transaction": row["id"], "destination_payment": payment["id"]}
    world.store.save(made)
    there.emit("charge.succeeded", payment)
    world.emit("transfer.created", made)
    return made


def _application_fee(there: World, charge: Object, amount: int, currency: str, *, originating: str | None) -> Object:
    """What the platform takes of a charge of the connected account; available when the charge is."""
    world = there.platform
    made = world.add(
        "application_fee", "fee", account=there.id_of_account, amount=amount, currency=currency, charge=charge["id"],
        application=application(world), originating_transaction=originating,
        fee_source={"charge": charge["id"], "type": "charge"},
    )  # fmt: skip
    made["refunds"] = {**made["refunds"], "url": f"/v1/application_fees/{made['id']}/refunds"}
    source = there.the(charge["balance_transaction"], "balance_transaction")
    row = book(
        world, "application_fee", "platform_earning", made["id"], amount, currency, available_on=source["available_on"]
    )
    made["balance_transaction"] = row["id"]
    world.store.save(made)
    world.emit("application_fee.created", made)
    return made


def after_refund(
    world: World,
    refund: Object,
    charge: Object,
    *,
    reverse_transfer: bool = False,
    refund_application_fee: bool = False,
) -> None:
    """A refund was booked: on request take back the same share of what was passed on and of the platform's fee.

    Source: https://docs.stripe.com/connect/destination-charges#issue-refunds
    """
    if reverse_transfer and charge.get("transfer"):
        sent = world.the(charge["transfer"], "transfer")
        if amount := _share_of(sent["amount"], sent["amount_reversed"], refund, charge):
            back = reverse(world, sent, amount, refund=refund)
            refund["transfer_reversal"] = back["id"]
            world.store.save(refund)
    if refund_application_fee and charge["application_fee"]:
        fee = world.platform.the(charge["application_fee"], "application_fee")
        if amount := _share_of(fee["amount"], fee["amount_refunded"], refund, charge):
            refund_fee(world.platform, fee, amount)


def _share_of(whole: int, gone: int, refund: Object, charge: Object) -> int:
    share = settlement.share(whole, Decimal(refund["amount"]) / charge["amount"])
    return min(share, whole - gone)


def reverse(
    world: World, sent: Object, amount: int, *, refund: Object | None = None, metadata: dict[str, str] | None = None
) -> Object:
    """Take a transfer back, in whole or in part. Raises ValueError when more would come back than is left of it."""
    left = sent["amount"] - sent["amount_reversed"]
    if not 0 < amount <= left:
        raise ValueError(f"Reversal amount ({amount}) is greater than unreversed amount on transfer ({left})")
    there = world.within(sent["destination"])
    payment = there.the(sent["destination_payment"], "charge")
    made = world.add(
        "transfer_reversal", "trr", within=sent["id"], amount=amount, currency=sent["currency"], transfer=sent["id"],
        source_refund=refund and refund["id"], metadata=metadata or {},
    )  # fmt: skip
    row = book(world, "transfer_refund", "transfer_reversal", made["id"], amount, sent["currency"])
    back = there.add(
        "refund", "pyr", amount=amount, currency=payment["currency"], charge=payment["id"], status="succeeded",
        source_transfer_reversal=made["id"], metadata={},
    )  # fmt: skip
    taken = book(there, "payment_refund", "refund", back["id"], -amount, payment["currency"])
    back["balance_transaction"] = taken["id"]
    there.store.save(back)
    made |= {"balance_transaction": row["id"], "destination_payment_refund": back["id"]}
    world.store.save(made)
    there.emit("refund.created", back)
    total = payment["amount_refunded"] + amount
    there.change(payment, "charge.refunded", amount_refunded=total, refunded=total == payment["amount"])
    total = sent["amount_reversed"] + amount
    world.change(
        sent, "transfer.reversed", amount_reversed=total, reversed=total == sent["amount"],
        reversals=_with(sent["reversals"], made),
    )  # fmt: skip
    return made


def refund_fee(world: World, fee: Object, amount: int, *, metadata: dict[str, str] | None = None) -> Object:
    """Give a connected account its fee back. Raises ValueError when more would be given than is left of it."""
    left = fee["amount"] - fee["amount_refunded"]
    if not 0 < amount <= left:
        raise ValueError(f"Refund amount ({amount}) is greater than fee amount ({left})")
    made = world.add(
        "fee_refund", "fr", within=fee["id"], amount=amount, currency=fee["currency"], fee=fee["id"],
        metadata=metadata or {},
    )  # fmt: skip
    row = book(world, "application_fee_refund", "platform_earning_refund", made["id"], -amount, fee["currency"])
    world.change(made, None, balance_transaction=row["id"])
    there = world.within(fee["account"])
    book(there, "adjustment", "fee", fee["charge"], amount, fee["currency"], description="Application fee refund")
    total = fee["amount_refunded"] + amount
    world.change(
        fee, "application_fee.refunded", amount_refunded=total, refunded=total == fee["amount"],
        refunds=_with(fee["refunds"], made),
    )  # fmt: skip
    return made


def refund_fee_of(world: World, sent: Object, amount: int) -> None:
    """Refund the share of a transfer's application fee that falls on `amount` of it."""
    payment = world.within(sent["destination"]).the(sent["destination_payment"], "charge")
    if payment["application_fee"]:
        fee = world.the(payment["application_fee"], "application_fee")
        part = settlement.share(fee["amount"], Decimal(amount) / sent["amount"])
        if part := min(part, fee["amount"] - fee["amount_refunded"]):
            refund_fee(world, fee, part)


def embed(world: World, owner: Object, name: str, changed: Object) -> None:
    """Show a changed row in the list that its owner embeds."""
    rows = [dict(changed) if row["id"] == changed["id"] else row for row in owner[name]["data"]]
    world.change(owner, None, **{name: {**owner[name], "data": rows}})


def _with(listed: Object, made: Any) -> Object:
    """An embedded list with one more row: the ten newest, newest first."""
    rows = [dict(made), *listed["data"]]
    return {**listed, "data": rows[:10], "has_more": listed["has_more"] or len(rows) > 10}
