"""Bank debits (ACH, SEPA): under way for days, refused by the bank before or after they succeeded, or disputed.

The money is booked as `payment` when the debit is made and is available when it succeeds; a failure takes it back as
`payment_failure_refund`, with Stripe's fee unless the debit had succeeded before.
Sources: https://docs.stripe.com/payments/ach-direct-debit, https://docs.stripe.com/payments/sepa-debit
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import cards, charges, connect, disputes
from dagster_project.simulator.engine.payouts import book
from dagster_project.simulator.engine.world import Object, World, action

DAYS = 4  # working days until a debit succeeds; one that fails is known a day earlier
_LATE = 6  # days after its success that a late failure or a dispute is known
_TEXTS = {
    "account_closed": "The customer's bank account has been closed.",
    "no_account": "The bank account could not be located.",
    "insufficient_funds": "The customer's account has insufficient funds to cover this payment.",
    "debit_not_authorized": "The customer has notified their bank that this payment was unauthorized.",
    "payment_method_currency_mismatch": "The bank could not process this payment because of its currency.",
    "charge_exceeds_source_limit": "This payment exceeds the weekly volume limit of the bank account.",
    "request_blocked": "Stripe blocked this payment as too risky.",
}


def debit(
    world: World, payment: Object, customer: Object | None, method: Object, *, works: bool | None
) -> Object:  # fmt: skip
    """Debit a bank account for a payment intent, which is `processing` then; `works` as in `payments.charge`."""
    does = cards.behaviour(world, method["id"]) or (_luck(world, payment, works) if works is not None else None)
    word, _, detail = (does or "").partition(":")
    made = charges.new(
        world, "py", payment, customer, method, captured=True, amount_captured=payment["amount"], status="pending",
        outcome=charges.approved() | {"network_status": "approved_by_network", "risk_level": "not_assessed"},
        payment_method_details=cards.charged(method, payment["amount"], **_mandate(world, method)),
    )  # fmt: skip
    if word == "refused":
        made |= {"captured": False, "amount_captured": 0}
        _fails(world, made, payment, detail)
        return made
    ends = working_day(world.now, DAYS)
    row = book(
        world, "payment", "charge", made["id"], made["amount"], made["currency"], processing=method["type"],
        available_on=ends // b.DAY * b.DAY + b.DAY, description=made["description"],
        application_fee=made["application_fee_amount"] or 0,
    )  # fmt: skip
    made["balance_transaction"] = row["id"]
    world.store.save(made)
    world.change(
        payment, "payment_intent.processing", status="processing", latest_charge=made["id"], last_payment_error=None,
        next_action=None,
    )  # fmt: skip
    world.emit("charge.pending", made)
    if word == "fails":
        world.later(working_day(world.now, DAYS - 1), debit_fails, made["id"], detail)
    elif word != "processing":
        world.later(ends, debit_succeeds, made["id"], word, detail)
    return made


def _mandate(world: World, method: Object) -> Object:
    mandate = cards.mandate_of(world, method["id"])
    return {"mandate": mandate} if mandate else {}


def _luck(world: World, payment: Object, works: bool) -> str | None:
    if not works:
        return "fails:insufficient_funds"
    late = world.chance("debit", payment["id"], payment["latest_charge"]).random() < world.business.debit_fails_late
    return "late:insufficient_funds" if late else None


def working_day(at: int, days: int) -> int:
    """The same time of day, so many working days later."""
    while days:
        at += b.DAY
        days -= datetime.fromtimestamp(at, UTC).weekday() < 5
    return at


@action
def debit_succeeds(world: World, id: str, word: str, detail: str) -> None:
    made = world.the(id, "charge")
    if made["status"] != "pending":
        return
    payment = world.the(made["payment_intent"], "payment_intent")
    made |= {"status": "succeeded", "paid": True, "receipt_url": f"https://pay.example.com/receipts/{id}"}
    world.store.save(made)
    connect.after_charge(world, made, payment)
    world.emit("charge.succeeded", made)
    charges.succeeded(world, made, payment)
    charges.settled(world, payment)
    if word == "late":
        world.later(world.now + _LATE * b.DAY, debit_fails, id, detail)
    elif word == "returned":
        world.later(world.now + _LATE * b.DAY, debit_is_returned, id, detail)


@action
def debit_fails(world: World, id: str, code: str) -> None:
    """The bank refuses, or takes the money back days after the debit had succeeded."""
    made = world.the(id, "charge")
    if made["status"] == "failed" or made["disputed"] or made["amount_refunded"]:
        return
    late = made["status"] == "succeeded"
    _take_back(world, made, with_fee=not late)
    payment = world.the(made["payment_intent"], "payment_intent")
    _fails(world, made, payment, code)
    if not late:
        charges.settled(world, payment)


def _fails(world: World, made: Object, payment: Object, code: str) -> None:
    text = _TEXTS[code]
    made |= {
        "status": "failed", "paid": False, "failure_code": code, "failure_message": text,
        "outcome": charges.approved() | {
            "network_status": "declined_by_network", "type": "issuer_declined", "reason": code, "seller_message": text,
            "risk_level": "not_assessed",
        },
    }  # fmt: skip
    world.store.save(made)
    world.emit("charge.failed", made)
    method = world.the(made["payment_method"], "payment_method")
    error = charges.card_error(code, text, charge=made["id"], payment_method=cards.shown(method))
    charges.failed(world, made, payment, {**error, "type": "invalid_request_error"})


def _take_back(world: World, made: Object, *, with_fee: bool) -> None:
    booked = world.the(made["balance_transaction"], "balance_transaction")
    rate = booked["exchange_rate"]
    fee = 0
    if with_fee and rate is None:
        fee = sum(each["amount"] for each in booked["fee_details"] if each["type"] == "stripe_fee")
    row = book(
        world, "payment_failure_refund", "charge_failure", made["id"], -made["amount"], made["currency"], fee=-fee,
        rate=None if rate is None else Decimal(str(rate)), description="Payment failure refund",
        available_on=booked["available_on"],
    )  # fmt: skip
    made["failure_balance_transaction"] = row["id"]


def stop(world: World, made: Object) -> None:
    """A debit that is still under way is canceled."""
    _take_back(world, made, with_fee=True)
    made |= {"status": "failed", "failure_code": "canceled", "failure_message": "The payment was canceled."}
    world.store.save(made)
    world.emit("charge.failed", made)


@action
def debit_is_returned(world: World, id: str, reason: str) -> None:
    """The account holder disputes a debit at the bank, which is final: there is nothing to answer to.

    It withdraws the mandate, too: https://docs.stripe.com/payments/ach-direct-debit#disputed-payments
    """
    made = world.the(id, "charge")
    cards.withdraw_mandate(world, made["payment_method"])
    if left := disputes.disputable(made):
        disputes.open_dispute(world, made, left, reason, final=True)
