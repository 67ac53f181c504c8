"""Giving money back, which takes days and can fail."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.credit_notes import credit_note_for_refund
from dagster_project.simulator.engine.payouts import book
from dagster_project.simulator.engine.world import Object, World, action


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
    world.later(world.now + 5 * b.DAY, refund_fails if fails else refund_arrives, back["id"])
    if dice.random() < world.business.refund_with_credit_note:
        credit_note_for_refund(world, back)


def refund(world: World, made: Object, amount: int, *, reason: str | None = None, metadata: Any = None) -> Object:
    """Give back `amount` of a charge, at once. Raises ValueError when more would be given than was taken."""
    left = made["amount"] - made["amount_refunded"]
    if not 0 < amount <= left:
        raise ValueError(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})")
    back = world.add(
        "refund", "re", amount=amount, currency=made["currency"], charge=made["id"],
        payment_intent=made["payment_intent"], customer=made["customer"],
        payment_method=made["payment_method"], reason=reason, status="succeeded", metadata=metadata or {},
        destination_details={"type": "card", "card": {"type": "refund", "reference_status": "pending",
        "reference_type": "acquirer_reference_number"}},
    )  # fmt: skip
    row = book(world, "refund", "refund", back["id"], -amount, made["currency"], description="REFUND FOR CHARGE")
    back["balance_transaction"] = row["id"]
    world.store.save(back)
    world.emit("refund.created", back)
    total = made["amount_refunded"] + amount
    world.change(made, "charge.refunded", amount_refunded=total, refunded=total == made["amount"])
    return back


@action
def refund_arrives(world: World, id: str) -> None:
    """The bank's reference is known; the same change is told twice, as on Stripe's side."""
    back = world.the(id)
    number = f"{world.number('arn'):023d}"
    sent = back["destination_details"]["card"] | {"reference": number, "reference_status": "available"}
    details = {"type": "card", "card": sent}
    before = shapes.frozen(back["destination_details"])
    world.change(back, "refund.updated", destination_details=details)
    world.emit("charge.refund.updated", back, {"destination_details": before})


@action
def refund_fails(world: World, id: str) -> None:
    back = world.the(id)
    row = book(
        world, "refund_failure", "refund_failure", id, back["amount"], back["currency"], description="REFUND FAILURE"
    )
    world.change(
        back,
        "refund.failed",
        status="failed",
        failure_balance_transaction=row["id"],
        failure_reason="expired_or_canceled_card",
    )
    made = world.the(back["charge"])
    world.change(made, "charge.updated", amount_refunded=made["amount_refunded"] - back["amount"], refunded=False)
