"""Giving money back: at once, after days, or not at all because the bank refuses it.

A refund that fails, or is canceled, puts its money back with `failure_balance_transaction`.
Sources: https://docs.stripe.com/refunds, https://docs.stripe.com/api/refunds
"""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import cards, connect, shapes
from dagster_project.simulator.engine.credit_notes import credit_note_for_refund
from dagster_project.simulator.engine.payouts import book
from dagster_project.simulator.engine.world import Object, World, action, previous_attributes

_ANSWERS = 45 * b.DAY  # how long a customer can say to which account a refund shall go
_BANK = 3 * b.DAY  # how long a bank takes


@action
def refund_by_chance(world: World, charge_id: str) -> None:
    made = world.the(charge_id)
    if made["disputed"] or made["amount_refunded"]:
        return
    dice = world.chance("refund", charge_id)
    part = (
        made["amount"]
        if dice.random() > world.business.refund_partial
        else max(1, made["amount"] * dice.randint(10, 60) // 100)
    )
    back = refund(world, made, part, reason="requested_by_customer")
    fails = dice.random() < world.business.refund_fails
    if back["status"] == "succeeded":
        world.later(world.now + 5 * b.DAY, refund_fails if fails else refund_arrives, back["id"])
    if dice.random() < world.business.refund_with_credit_note:
        credit_note_for_refund(world, back)


def refund(
    world: World, made: Object, amount: int, *, reason: str | None = None, metadata: Any = None,
    instructions_email: str | None = None, reverse_transfer: bool = False, refund_application_fee: bool = False,
) -> Object:  # fmt: skip
    """Give back `amount` of a charge. Raises ValueError when more would be given than is left.

    With `instructions_email` the refund of a bank debit waits for the customer, who names an account two days later.
    """
    left = made["amount"] - made["amount_refunded"]
    if not 0 < amount <= left:
        raise ValueError(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})")
    does = cards.behaviour(world, made["payment_method"])
    bank = made["id"].startswith("py")
    back = _new(world, made, amount, reason, metadata or {})
    if bank and instructions_email:
        expires = world.now + _ANSWERS
        sent = {"email_sent_at": world.now, "email_sent_to": instructions_email}
        back |= {
            "status": "requires_action", "instructions_email": instructions_email,
            "next_action": {"type": "display_details",
                            "display_details": {"email_sent": sent, "expires_at": expires}},
        }  # fmt: skip
        world.later(world.now + 2 * b.DAY, refund_is_answered, back["id"])
    elif bank or does == "refund_pending":
        back |= {"status": "pending", "pending_reason": "processing"}
        world.later(world.now + (_BANK if bank else b.HOUR), refund_succeeds, back["id"])
    elif does == "refund_fails":
        world.later(world.now + b.HOUR, refund_fails, back["id"])
    row = book(
        world, "payment_refund" if bank else "refund", "refund", back["id"], -amount, made["currency"],
        description="REFUND FOR PAYMENT" if bank else "REFUND FOR CHARGE",
    )  # fmt: skip
    back["balance_transaction"] = row["id"]
    world.store.save(back)
    connect.after_refund(
        world, back, made, reverse_transfer=reverse_transfer, refund_application_fee=refund_application_fee
    )
    world.emit("refund.created", back)
    total = made["amount_refunded"] + amount
    world.change(made, "charge.refunded", amount_refunded=total, refunded=total == made["amount"])
    if made["refunded"]:
        warning_is_answered(world, made)
    return back


def warning_is_answered(world: World, made: Object) -> None:
    """An early fraud warning about a charge that was refunded or disputed asks for nothing any more."""
    if known := world.meta.get("warned", {}).get(made["id"]):
        warning = world.the(known, "radar.early_fraud_warning")
        world.change(warning, "radar.early_fraud_warning.updated", actionable=False)


def _new(world: World, made: Object, amount: int, reason: str | None, metadata: Any, how: str = "refund") -> Object:
    bank = made["id"].startswith("py")
    details: Object = {"type": "us_bank_transfer", "us_bank_transfer": {"reference": None, "reference_status": None}}
    if not bank:
        card = {"type": how, "reference_status": "pending", "reference_type": "acquirer_reference_number"}
        details = {"type": "card", "card": card if how == "refund" else {"type": how}}
    return world.add(
        "refund", "pyr" if bank else "re", amount=amount, currency=made["currency"], charge=made["id"],
        payment_intent=made["payment_intent"], customer=made["customer"], payment_method=made["payment_method"],
        reason=reason, status="succeeded", metadata=metadata, destination_details=details,
    )  # fmt: skip


def release(
    world: World, made: Object, amount: int, *, reason: str | None = None, fee: int = 0, booked: Object | None = None
) -> Object:
    """Give back authorized money that was not captured; moved in the balance only when it had been `booked`."""
    back = _new(world, made, amount, reason, {}, how="reversal")
    if booked is not None:
        row = book(
            world, "refund", "partial_capture_reversal", back["id"], -amount, made["currency"], fee=-fee,
            available_on=booked["available_on"], description="REFUND FOR CHARGE",
        )  # fmt: skip
        back["balance_transaction"] = row["id"]
        world.store.save(back)
    world.emit("refund.created", back)
    return back


# ---- what becomes of a refund ----------------------------------------------------------------------------------
@action
def refund_arrives(world: World, id: str) -> None:
    """The bank's reference is known."""
    back = world.the(id)
    number = f"{world.number('arn'):023d}"
    sent = back["destination_details"]["card"] | {"reference": number, "reference_status": "available"}
    _told(world, back, "refund.updated", destination_details={"type": "card", "card": sent})


@action
def refund_succeeds(world: World, id: str) -> None:
    back = world.the(id, "refund")
    if back["status"] == "pending":
        _told(world, back, "refund.updated", gone="pending_reason", status="succeeded")


@action
def refund_is_answered(world: World, id: str) -> None:
    """The customer has named a bank account."""
    back = world.the(id, "refund")
    if back["status"] == "requires_action":
        _told(world, back, "refund.updated", gone="next_action", status="pending", pending_reason="processing")
        world.later(world.now + _BANK, refund_succeeds, id)


@action
def refund_fails(world: World, id: str) -> None:
    _undone(world, world.the(id), "refund.failed", status="failed", failure_reason="expired_or_canceled_card")


def cancel(world: World, back: Object) -> Object:
    """Call off a refund that waits for the customer."""
    _undone(world, back, "refund.updated", status="canceled")
    return back


def expire(world: World, back: Object) -> Object:
    """The customer did not answer in time."""
    _undone(world, back, "refund.failed", status="failed", failure_reason="unknown")
    return back


def _undone(world: World, back: Object, event: str, **changes: Any) -> None:
    """The money of a refund comes back into the balance, and can be refunded again."""
    row = book(
        world, "refund_failure", "refund_failure", back["id"], back["amount"], back["currency"],
        description="REFUND FAILURE",
    )  # fmt: skip
    _told(world, back, event, gone="next_action", failure_balance_transaction=row["id"], **changes)
    made = world.the(back["charge"])
    world.change(made, "charge.updated", amount_refunded=made["amount_refunded"] - back["amount"], refunded=False)


def _told(world: World, back: Object, event: str, *, gone: str | None = None, **changes: Any) -> None:
    """A change of a refund is told twice, as on Stripe's side; `gone` is a field that it does not have any more."""
    before = shapes.frozen(previous_attributes(back, changes))
    if gone in back:
        before[gone] = back.pop(gone)
    back.update(changes)
    world.store.save(back)
    for name in (event, "charge.refund.updated"):
        world.emit(name, back, before)
