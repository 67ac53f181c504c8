"""Cardholders who contest a charge at their bank.

A chargeback takes the money and a fee at once; an inquiry only asks, and is closed or becomes a chargeback. Evidence is
decided upon days later: by its text (`winning_evidence`, `losing_evidence`, `escalate_inquiry_evidence`, as in Stripe's
sandbox), else by chance. What is not answered in time is lost, an inquiry closed.
Sources: https://docs.stripe.com/disputes/how-disputes-work, https://docs.stripe.com/testing#disputes
"""

from __future__ import annotations

from typing import Any

import msgspec

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine.payouts import book
from dagster_project.simulator.engine.refunds import refund, warning_is_answered
from dagster_project.simulator.engine.world import Object, World, action

_REASON_CODES = {"fraudulent": "10.4", "duplicate": "12.6", "product_not_received": "13.1",
                 "subscription_canceled": "13.2"}  # fmt: skip
_INQUIRY_CODES = {"fraudulent": "10"}
_ANSWER = 14  # days to answer
_DECIDES = b.DAY  # until evidence with a text of the sandbox is decided upon
OPEN = ("needs_response", "warning_needs_response")
UNDER_REVIEW = {"needs_response": "under_review", "warning_needs_response": "warning_under_review"}


def disputable(made: Object) -> int:
    """What of a charge can still be disputed, in minor units."""
    return int(made["amount_captured"] - made["amount_refunded"]) if made["paid"] and made["captured"] else 0


def of_charge(world: World, made: Object) -> list[Object]:
    """Every dispute of a charge, newest first."""
    found, _ = world.store.page("dispute", where={"charge": made["id"]}, limit=100)
    return [world.the(msgspec.json.decode(body)["id"], "dispute") for body in found]


@action
def dispute_opens(world: World, charge_id: str) -> None:
    """A dispute by chance, which the business answers after a week."""
    made = world.the(charge_id)
    if made["disputed"] or made["amount_refunded"] or not made["captured"]:
        return
    dice = world.chance("dispute", charge_id)
    inquiry = dice.random() < world.business.dispute_inquiry
    reason = dice.choice(world.business.dispute_reasons)
    closes = int(dice.uniform(25, 60) * b.DAY)
    if dice.random() < world.business.dispute_prevented:
        _prevent(world, made, reason)
        return
    if reason == "fraudulent" and dice.random() < world.business.fraud_warning:
        is_warned(world, made)
    amount = made["amount"]
    parts = [amount]
    if dice.random() < world.business.dispute_partial:
        parts = [amount * dice.randint(20, 80) // 100]
        if dice.random() < world.business.dispute_again:
            parts.append(amount - parts[0])
    for part in filter(None, parts):
        case = open_dispute(world, made, part, reason, inquiry=inquiry)
        world.later(world.now + 7 * b.DAY, dispute_answered, case["id"])
        world.later(world.now + closes, dispute_closes, case["id"])


def _prevent(world: World, made: Object, reason: str) -> None:
    """The card network learns of the dispute early and the charge is refunded instead; no fee, nothing withdrawn.

    Source: https://docs.stripe.com/disputes/prevention/dispute-resolution
    """
    refund(world, made, made["amount"] - made["amount_refunded"])
    case = _new(world, made, made["amount"], reason, "prevented", "resolution")
    world.store.save(case)
    world.change(made, None, disputed=True)
    world.emit("charge.dispute.created", case)
    world.emit("charge.dispute.closed", case)


def is_disputed(world: World, made: Object, *, reason: str, inquiry: bool, twice: bool) -> None:
    """A charge of a card that is there to be disputed."""
    amounts = [made["amount"] // 2, made["amount"] - made["amount"] // 2] if twice else [made["amount"]]
    for amount in amounts:
        case = open_dispute(world, made, amount, reason, inquiry=inquiry)
        world.later(case["evidence_details"]["due_by"] + 1, dispute_is_due, case["id"])


def is_warned(world: World, made: Object) -> Object:
    """The issuer suspects fraud, before any dispute: https://docs.stripe.com/radar/early-fraud-warnings"""
    warning = world.add(
        "radar.early_fraud_warning", "issfr", charge=made["id"], payment_intent=made["payment_intent"],
        actionable=not made["refunded"] and not made["disputed"], fraud_type="unauthorized_use_of_card",
    )  # fmt: skip
    world.emit("radar.early_fraud_warning.created", warning)
    world.meta.setdefault("warned", {})[made["id"]] = warning["id"]
    return warning


def open_dispute(
    world: World, made: Object, amount: int, reason: str, *, inquiry: bool = False, final: bool = False
) -> Object:
    """A dispute over `amount` of a charge; a `final` one is lost at once, as those of bank debits are."""
    status = "warning_needs_response" if inquiry else "lost" if final else "needs_response"
    case = _new(world, made, amount, reason, status, "inquiry" if inquiry else "chargeback")
    if not final:
        case["evidence_details"] |= {"due_by": (world.now // b.DAY + _ANSWER) * b.DAY + b.DAY - 1}
    if not inquiry:
        case["balance_transactions"] = _withdrawn(world, case)
    world.store.save(case)
    world.change(made, None, disputed=True)
    warning_is_answered(world, made)
    world.emit("charge.dispute.created", case)
    if not inquiry:
        world.emit("charge.dispute.funds_withdrawn", case)
    if final:
        world.emit("charge.dispute.closed", case)
    return case


def _new(world: World, made: Object, amount: int, reason: str, status: str, case_type: str) -> Object:
    case = world.add(
        "dispute", "du", amount=amount, currency=made["currency"], charge=made["id"], reason=reason,
        payment_intent=made["payment_intent"], status=status, is_charge_refundable=case_type == "inquiry",
    )  # fmt: skip
    details = made["payment_method_details"]
    if details["type"] == "card":
        card = details["card"]
        case["payment_method_details"] = {
            "type": "card",
            "card": {
                "brand": card["brand"], "case_type": case_type, "network": card["network"],
                "network_reason_code": _code(reason, case_type == "inquiry"),
            },
        }  # fmt: skip
    return case


def _code(reason: str, inquiry: bool) -> str:
    return (_INQUIRY_CODES if inquiry else {}).get(reason) or _REASON_CODES.get(reason, "13.1")


def _withdrawn(world: World, case: Object) -> list[Object]:
    """The disputed money and the fee leave the balance; the movements of the dispute from then on."""
    row = book(
        world, "adjustment", "dispute", case["id"], -case["amount"], case["currency"], processing="dispute",
        description=f"Chargeback withdrawal for {case['charge']}",
    )  # fmt: skip
    return [*case["balance_transactions"], dict(row)]


# ---- answers ---------------------------------------------------------------------------------------------------
@action
def dispute_answered(world: World, id: str) -> None:
    """The business sends its evidence."""
    case = world.the(id)
    if case["status"] in OPEN:
        submit(world, case, {})


def submit(world: World, case: Object, evidence: Object, **changes: Any) -> Object:
    """Hand evidence to the bank; its text may say how the bank decides."""
    details = case["evidence_details"] | {"has_evidence": True, "submission_count": 1}
    details["submission_count"] = case["evidence_details"]["submission_count"] + 1
    world.change(
        case, "charge.dispute.updated", evidence=case["evidence"] | evidence, evidence_details=details,
        status=UNDER_REVIEW[case["status"]], **changes,
    )  # fmt: skip
    decided = {"winning_evidence": "won", "losing_evidence": "lost", "escalate_inquiry_evidence": "escalated"}
    if outcome := decided.get(case["evidence"]["uncategorized_text"] or ""):
        world.later(world.now + _DECIDES, dispute_is_decided, case["id"], outcome)
    elif evidence:
        world.later(world.now + 30 * b.DAY, dispute_closes, case["id"])
    return case


@action
def dispute_is_due(world: World, id: str) -> None:
    """Nobody answered in time."""
    case = world.the(id)
    if case["status"] in OPEN:
        _decide(world, case, "lost", evidence_details=case["evidence_details"] | {"past_due": True})


@action
def dispute_closes(world: World, id: str) -> None:
    """By chance."""
    won = world.chance("dispute won", id).random() < world.business.dispute_won
    dispute_is_decided(world, id, "won" if won else "lost")


@action
def dispute_is_decided(world: World, id: str, outcome: str) -> None:
    """The bank has decided, unless the dispute ended in another way before."""
    case = world.the(id)
    if case["status"] not in ("won", "lost", "warning_closed", "prevented"):
        _decide(world, case, outcome)


def _decide(world: World, case: Object, outcome: str, **changes: Any) -> None:
    """An inquiry ends without a dispute, unless it is `escalated` to one."""
    if case["status"].startswith("warning_"):
        if outcome == "escalated":
            _escalate(world, case)
        else:
            world.change(case, "charge.dispute.closed", status="warning_closed", **changes)
        return
    if outcome == "won":
        _reinstate(world, case)
    world.change(case, "charge.dispute.closed", status="won" if outcome == "won" else "lost", **changes)


def _reinstate(world: World, case: Object) -> None:
    fee = 0
    if world.business.dispute_fee_returned:
        details = case["balance_transactions"][0]["fee_details"]
        fee = sum(each["amount"] for each in details if each["type"] == "stripe_fee")
    row = book(
        world, "adjustment", "dispute_reversal", case["id"], case["amount"], case["currency"], fee=-fee,
        fee_description="Dispute fee refund", description=f"Chargeback reversal for {case['charge']}",
    )  # fmt: skip
    rows = [*case["balance_transactions"], dict(row)]
    world.change(case, "charge.dispute.funds_reinstated", balance_transactions=rows)


def _escalate(world: World, case: Object) -> None:
    """The inquiry becomes a chargeback: now the money is taken."""
    due = (world.now // b.DAY + _ANSWER) * b.DAY + b.DAY - 1
    changes: Object = {
        "status": "needs_response", "is_charge_refundable": False,
        "evidence_details": case["evidence_details"] | {"due_by": due, "has_evidence": False},
        "balance_transactions": _withdrawn(world, case),
    }  # fmt: skip
    if details := case.get("payment_method_details"):
        card = {**details["card"], "case_type": "chargeback", "network_reason_code": _code(case["reason"], False)}
        changes["payment_method_details"] = {**details, "card": card}
    world.change(case, "charge.dispute.updated", **changes)
    world.emit("charge.dispute.funds_withdrawn", case)
    world.later(due + 1, dispute_is_due, case["id"])


def accept(world: World, case: Object) -> Object:
    """Dismiss the dispute: it is lost, an inquiry closed."""
    inquiry = case["status"].startswith("warning_")
    return world.change(case, "charge.dispute.closed", status="warning_closed" if inquiry else "lost")
