"""Taking money and giving it back: payment intents, charges, refunds, disputes."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.credit import credit_note_for_refund
from dagster_project.simulator.engine.payouts import book
from dagster_project.simulator.engine.world import Object, World, action


def card(world: World, customer: Object) -> Object:
    """A card of the customer, attached."""
    dice = world.chance("card", customer["id"])
    brand = dice.choice(("visa", "visa", "mastercard", "amex"))
    address = customer["address"]
    method = world.add(
        "payment_method", "pm", type="card", customer=customer["id"],
        billing_details={"address": address, "email": customer["email"], "name": customer["name"],
        "phone": None, "tax_id": None}, metadata={}, allow_redisplay="unspecified",
        card={
            "brand": brand, "checks": {"address_line1_check": None, "address_postal_code_check": "pass",
            "cvc_check": "pass"}, "country": address["country"], "display_brand": brand,
            "exp_month": dice.randint(1, 12), "exp_year": 2029, "fingerprint": f"{dice.getrandbits(64):016x}",
            "funding": "credit", "generated_from": None, "last4": f"{dice.randint(0, 9999):04d}",
            "networks": {"available": [brand], "preferred": None}, "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True}, "wallet": None,
        },
    )  # fmt: skip
    world.emit("payment_method.attached", method)
    return method


def intent(world: World, customer: Object, amount: int, currency: str, method: str, description: str) -> Object:
    made = world.add(
        "payment_intent", "pi", amount=amount, currency=currency, customer=customer["id"],
        description=description, payment_method=method, payment_method_types=["card"],
        status="requires_confirmation", capture_method="automatic",
        payment_method_options={"card": {"installments": None, "mandate_options": None, "network": None,
                                         "request_three_d_secure": "automatic"}},
    )  # fmt: skip
    made["client_secret"] = f"{made['id']}_secret_simulated"
    world.emit("payment_intent.created", made)
    return made


def charge(world: World, payment: Object, customer: Object, *, works: bool) -> Object:
    """One attempt to collect a payment intent; books the money when it works."""
    method = world.the(payment["payment_method"])
    seller = {
        "advice_code": None, "network_advice_code": None, "network_decline_code": None, "reason": None,
        "risk_level": "normal", "seller_message": "Payment complete.", "type": "authorized",
        "network_status": "approved_by_network",
    }  # fmt: skip
    if not works:
        seller |= {"network_status": "declined_by_network", "reason": "insufficient_funds",
        "type": "issuer_declined",
                   "seller_message": "The bank returned the decline code `insufficient_funds`."}  # fmt: skip
    made = world.add(
        "charge", "ch", amount=payment["amount"], amount_captured=payment["amount"] if works else 0,
        currency=payment["currency"], customer=customer["id"], description=payment["description"],
        billing_details=method["billing_details"], captured=works, paid=works,
        status="succeeded" if works else "failed", payment_intent=payment["id"], payment_method=method["id"],
        outcome=seller, fraud_details={}, payment_method_details={"type": "card",
        "card": _card_details(method["card"], payment["amount"])},
        calculated_statement_descriptor="LEDGERLINE DEMO", receipt_email=customer["email"],
    )  # fmt: skip
    if works:
        rate, fixed = world.business.fees[made["currency"]]
        fee = int(made["amount"] * rate + 0.5) + fixed
        row = book(
            world, "charge", "charge", made["id"], made["amount"], made["currency"], fee=fee,
            available_on=(world.now + world.business.available_after) // b.DAY * b.DAY, description=made["description"],
        )  # fmt: skip
        made["balance_transaction"] = row["id"]
        made["receipt_url"] = f"https://pay.example.com/receipts/{made['id']}"
        world.store.save(made)
        world.emit("charge.succeeded", made)
        world.change(
            payment, "payment_intent.succeeded", status="succeeded", amount_received=payment["amount"],
            latest_charge=made["id"], last_payment_error=None,
        )  # fmt: skip
        _what_may_follow(world, made)
    else:
        made |= {"failure_code": "card_declined", "failure_message": "Your card has insufficient funds."}
        world.store.save(made)
        world.emit("charge.failed", made)
        error = {
            "charge": made["id"], "code": "card_declined", "decline_code": "insufficient_funds",
            "doc_url": "https://docs.stripe.com/error-codes/card-declined", "type": "card_error",
            "message": "Your card has insufficient funds.",
        }  # fmt: skip
        world.change(
            payment, "payment_intent.payment_failed", status="requires_payment_method",
            latest_charge=made["id"], last_payment_error=error,
        )  # fmt: skip
    return made


def _card_details(card: Object, amount: int) -> Object:
    kept = (
        "brand",
        "checks",
        "country",
        "exp_month",
        "exp_year",
        "fingerprint",
        "funding",
        "last4",
        "regulated_status",
    )
    return {name: card[name] for name in kept} | {
        "amount_authorized": amount, "authorization_code": None, "electronic_commerce_indicator": None,
        "transaction_link_id": None, "extended_authorization": {"status": "disabled"},
        "incremental_authorization": {"status": "unavailable"}, "installments": None, "mandate": None,
        "multicapture": {"status": "unavailable"}, "network": card["brand"], "network_token": {"used": False},
        "network_transaction_id": None, "overcapture": {"maximum_amount_capturable": amount,
        "status": "unavailable"}, "three_d_secure": None, "wallet": None,
    }  # fmt: skip


def _what_may_follow(world: World, made: Object) -> None:
    dice = world.chance("after charge", made["id"])
    fate = dice.random()
    if fate < world.business.refund:
        world.later(world.now + int(dice.uniform(1, 12) * b.DAY), refund_by_chance, made["id"])
    elif fate < world.business.refund + world.business.dispute:
        world.later(world.now + int(dice.uniform(4, 40) * b.DAY), dispute_opens, made["id"])


# ---- refunds ------------------------------------------------------------------------------------------------
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


# ---- disputes -----------------------------------------------------------------------------------------------
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
