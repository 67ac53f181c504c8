"""Cardholders who contest a charge at their bank."""

from __future__ import annotations

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine.payouts import book
from dagster_project.simulator.engine.world import World, action


@action
def dispute_opens(world: World, charge_id: str) -> None:
    made = world.the(charge_id)
    if made["disputed"] or made["amount_refunded"]:
        return
    dice = world.chance("dispute", charge_id)
    inquiry = dice.random() < world.business.dispute_inquiry
    reason = dice.choice(world.business.dispute_reasons)
    case = world.add(
        "dispute", "du", amount=made["amount"], currency=made["currency"], charge=charge_id, reason=reason,
        payment_intent=made["payment_intent"], status="warning_needs_response" if inquiry else "needs_response",
        is_charge_refundable=inquiry,
        payment_method_details={"type": "card", "card": {
            "brand": made["payment_method_details"]["card"]["brand"],
            "case_type": "inquiry" if inquiry else "chargeback", "network": "visa",
            "network_reason_code": {"fraudulent": "10.4", "duplicate": "12.6"}.get(reason, "13.1")}},
    )  # fmt: skip
    case["evidence_details"] |= {"due_by": (world.now // b.DAY + 14) * b.DAY + b.DAY - 1}
    if not inquiry:
        row = book(
            world, "adjustment", "dispute", case["id"], -made["amount"], made["currency"],
            fee=world.business.dispute_fee[made["currency"]], fee_description="Dispute fee",
            description=f"Chargeback withdrawal for {charge_id}",
        )  # fmt: skip
        case["balance_transactions"] = [dict(row)]
    world.store.save(case)
    world.change(made, None, disputed=True)
    world.emit("charge.dispute.created", case)
    if not inquiry:
        world.emit("charge.dispute.funds_withdrawn", case)
    world.later(world.now + 7 * b.DAY, dispute_answered, case["id"])
    world.later(world.now + int(dice.uniform(25, 60) * b.DAY), dispute_closes, case["id"])


@action
def dispute_answered(world: World, id: str) -> None:
    case = world.the(id)
    inquiry = case["status"].startswith("warning_")
    details = case["evidence_details"] | {"has_evidence": True, "submission_count": 1}
    world.change(
        case,
        "charge.dispute.updated",
        status="warning_under_review" if inquiry else "under_review",
        evidence_details=details,
    )


@action
def dispute_closes(world: World, id: str) -> None:
    case = world.the(id)
    if case["status"].startswith("warning_"):
        world.change(case, "charge.dispute.closed", status="warning_closed")
        return
    won = world.chance("dispute won", id).random() < world.business.dispute_won
    if won:
        row = book(
            world, "adjustment", "dispute_reversal", id, case["amount"], case["currency"],
            description=f"Chargeback reversal for {case['charge']}",
        )  # fmt: skip
        world.change(
            case, "charge.dispute.funds_reinstated", balance_transactions=[*case["balance_transactions"], dict(row)]
        )
    world.change(case, "charge.dispute.closed", status="won" if won else "lost")
