"""Charges: one attempt each to take money; booked when they work, released or declined otherwise.

Sources: https://docs.stripe.com/declines/codes, https://docs.stripe.com/payments/place-a-hold-on-a-payment-method
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import cards, connect, settlement, shapes
from dagster_project.simulator.engine.disputes import dispute_opens, is_disputed, is_warned
from dagster_project.simulator.engine.payouts import book
from dagster_project.simulator.engine.refunds import refund_by_chance, release
from dagster_project.simulator.engine.world import ACTIONS, Object, World, action, previous_attributes

HOLD = 7 * b.DAY  # how long an issuer keeps money for a charge that is not captured
_PREFIX = "LEDGERLINE DEMO"

# decline code -> error code, message, what the network advises
DECLINES: dict[str, tuple[str, str, str | None]] = {
    "generic_decline": ("card_declined", "Your card was declined.", "try_again_later"),
    "insufficient_funds": ("card_declined", "Your card has insufficient funds.", None),
    "lost_card": ("card_declined", "Your card was declined.", "do_not_try_again"),
    "stolen_card": ("card_declined", "Your card was declined.", "do_not_try_again"),
    "expired_card": ("expired_card", "Your card has expired.", "confirm_card_data"),
    "incorrect_cvc": ("incorrect_cvc", "Your card's security code is incorrect.", "confirm_card_data"),
    "processing_error": (
        "processing_error", "An error occurred while processing your card. Try again in a little bit.",
        "try_again_later",
    ),
    "card_velocity_exceeded": (
        "card_declined", "Your card was declined for making repeated attempts too frequently or exceeding its amount"
        " limit.", "try_again_later",
    ),
    "authentication_required": (
        "authentication_required", "Your card was declined. This transaction requires authentication.", None,
    ),
    "fraudulent": ("card_declined", "Your card was declined.", "do_not_try_again"),
}  # fmt: skip


def approved() -> Object:
    """`outcome` of a charge that works."""
    return {
        "advice_code": None, "network_advice_code": None, "network_decline_code": None, "reason": None,
        "risk_level": "normal", "seller_message": "Payment complete.", "type": "authorized",
        "network_status": "approved_by_network",
    }  # fmt: skip


def _outcome(decline: str) -> Object:
    known = approved()
    if decline == "fraudulent":
        return known | {
            "network_status": "not_sent_to_network", "reason": "highest_risk_level", "risk_level": "highest",
            "type": "blocked", "seller_message": "Stripe blocked this payment as too risky.",
        }  # fmt: skip
    text = f"The bank returned the decline code `{decline}`."
    if decline == "generic_decline":
        text = "The bank did not return any further details with this decline."
    return known | {
        "network_status": "declined_by_network", "reason": decline, "type": "issuer_declined", "seller_message": text,
        "advice_code": DECLINES[decline][2],
    }  # fmt: skip


def of_card(
    world: World, payment: Object, customer: Object | None, method: Object, *, decline: str | None = None,
    authenticated: bool = False, chance: bool = False,
) -> Object:  # fmt: skip
    """Charge a card for a payment intent; `decline` is the code with which the issuer, or Radar, declines.

    With `chance` a refund or a dispute may follow, as often as in the made-up business.
    """
    made = attempt(world, payment, customer, method, decline=decline, authenticated=authenticated)
    if decline:
        code, message, advice = DECLINES[decline]
        error = card_error(code, message, charge=made["id"], decline_code=decline, payment_method=cards.shown(method))
        failed(world, made, payment, {**error, "advice_code": advice} if advice else error)
        return made
    if made["captured"]:
        succeeded(world, made, payment)
        if made["balance_transaction"] is None:
            _book_afterwards(world, made, payment)
    else:
        world.change(
            payment, "payment_intent.amount_capturable_updated", status="requires_capture", latest_charge=made["id"],
            amount_capturable=payment["amount"], last_payment_error=None, next_action=None,
        )  # fmt: skip
    what_may_follow(world, made, chance=chance)
    return made


def attempt(
    world: World, wish: Object, customer: Object | None, method: Object, *, decline: str | None = None,
    authenticated: bool = False, **fields: Any,
) -> Object:  # fmt: skip
    """One charge of a card, announced; `wish` is a payment intent, or has its fields and the id None."""
    held = wish["capture_method"] == "manual" and decline is None
    taken = decline is None and not held
    more: Object = {"capture_before": world.now + HOLD} if held else {}
    made = new(
        world, "ch", wish, customer, method, paid=decline is None, captured=taken,
        amount_captured=wish["amount"] if taken else 0, status="failed" if decline else "succeeded",
        outcome=_outcome(decline) if decline else approved(),
        payment_method_details=cards.charged(method, wish["amount"], authenticated=authenticated, **more), **fields,
    )  # fmt: skip
    if decline:
        code, message, _ = DECLINES[decline]
        made |= {"failure_code": code, "failure_message": message}
        world.store.save(made)
        world.emit("charge.failed", made)
        return made
    made["receipt_url"] = f"https://pay.example.com/receipts/{made['id']}"
    if held:
        world.store.save(made)
        world.later(world.now + HOLD, hold_expires, made["id"])
    elif wish["capture_method"] != "automatic_async":
        _book(world, made, wish if wish["id"] else None)
    world.emit("charge.succeeded", made)
    return made


def new(
    world: World, prefix: str, payment: Object, customer: Object | None, method: Object, **fields: Any,
) -> Object:  # fmt: skip
    """A charge of a payment intent, not announced yet."""
    suffix = payment["statement_descriptor_suffix"]
    return world.add(
        "charge", prefix, amount=payment["amount"], currency=payment["currency"], customer=payment["customer"],
        description=payment["description"], billing_details=method["billing_details"], payment_intent=payment["id"],
        payment_method=method["id"], fraud_details={}, metadata=dict(payment["metadata"]),
        calculated_statement_descriptor=f"{_PREFIX}* {suffix}"[:22] if suffix else _PREFIX,
        statement_descriptor=payment["statement_descriptor"], statement_descriptor_suffix=suffix,
        receipt_email=payment["receipt_email"] or (customer.get("email") if customer else None),
        shipping=payment["shipping"], **connect.fields_of(world, payment), **fields,
    )  # fmt: skip


def _book(world: World, made: Object, payment: Object | None) -> Object:
    """The money of a card charge, pending until it is available."""
    at_once = cards.behaviour(world, made["payment_method"]) == "available"
    row = book(
        world, "charge", "charge", made["id"], made["amount"], made["currency"], processing="card",
        available_on=None if at_once else (world.now + world.business.available_after) // b.DAY * b.DAY,
        description=made["description"], application_fee=made["application_fee_amount"] or 0,
    )  # fmt: skip
    made["balance_transaction"] = row["id"]
    world.store.save(made)
    connect.after_charge(world, made, payment)
    return row


def _book_afterwards(world: World, made: Object, payment: Object) -> None:
    """Asynchronous capture: the money is in the balance after the success was told, which `charge.updated` tells.

    Source: https://docs.stripe.com/payments/payment-intents/asynchronous-capture
    """
    before = shapes.frozen(made)
    _book(world, made, payment)
    _told(world, made, "charge.updated", before)


def _told(world: World, made: Object, event: str, before: Object) -> None:
    world.store.save(made)
    world.emit(event, made, shapes.frozen(previous_attributes(before, made)))


def succeeded(world: World, made: Object, payment: Object) -> None:
    """The money of a payment intent has come."""
    world.change(
        payment, "payment_intent.succeeded", status="succeeded", amount_received=made["amount_captured"],
        amount_capturable=0, latest_charge=made["id"], last_payment_error=None, next_action=None,
    )  # fmt: skip
    method = world.store.get(payment["payment_method"], "payment_method")
    owner = world.store.get(payment["customer"], "customer") if payment["customer"] else None
    if method is None or method["customer"]:
        return
    if payment["setup_future_usage"] and owner and not owner.get("deleted"):
        cards.attach(world, method, owner)
    else:
        cards.used_up(world, method)


def failed(world: World, made: Object, payment: Object, error: Object) -> None:
    """The payment intent needs another payment method, or another attempt."""
    world.change(
        payment, "payment_intent.payment_failed", status="requires_payment_method", latest_charge=made["id"],
        last_payment_error=error, next_action=None, amount_received=0, payment_method=None,
    )  # fmt: skip


def settled(world: World, payment: Object) -> None:
    """Tell the invoice, if the payment is of one, that it came later or will not come."""
    if told := ACTIONS.get("payment_intent_settled"):
        told(world, payment["id"])


def card_error(code: str, message: str, **more: Any) -> Object:
    """What `last_payment_error` holds."""
    doc = f"https://docs.stripe.com/error-codes#{code.replace('_', '-')}"
    return {"type": "card_error", "code": code, "doc_url": doc, "message": message, **more}


def what_may_follow(world: World, made: Object, *, chance: bool) -> None:
    """A refund or a dispute: by what the payment method is for, or by chance."""
    does, _, detail = (cards.behaviour(world, made["payment_method"]) or "").partition(":")
    if does in ("disputed", "inquiry", "disputed_twice"):
        is_disputed(world, made, reason=detail, inquiry=does == "inquiry", twice=does == "disputed_twice")
    elif does == "warned":
        is_warned(world, made)
    if not chance:
        return
    dice = world.chance("after charge", made["id"])
    fate = dice.random()
    if fate < world.business.refund:
        world.later(world.now + int(dice.uniform(1, 12) * b.DAY), refund_by_chance, made["id"])
    elif fate < world.business.refund + world.business.dispute:
        world.later(world.now + int(dice.uniform(4, 40) * b.DAY), dispute_opens, made["id"])


# ---- charges that are held and captured later ------------------------------------------------------------------
def capture(world: World, made: Object, payment: Object | None, amount: int) -> Object:
    """Take `amount` of what was authorized; the rest goes back to the cardholder at once.

    The whole authorization is booked, and its rest with the fee on it reversed as `partial_capture_reversal`.
    """
    rest = made["amount"] - amount
    before = shapes.frozen(made)
    row = _book(world, made, payment)
    if rest:
        # Stripe's price is of what settles, which is another currency where the account has no balance in this one.
        currency, by = row["currency"], Decimal(str(row["exchange_rate"] or 1))
        settled = settlement.convert(amount, made["currency"], currency, by)
        price = [settlement.processing_fee(world, "card", each, currency) for each in (row["amount"], settled)]
        release(world, made, rest, fee=price[0] - price[1], booked=row)
    made |= {"captured": True, "amount_captured": amount, "amount_refunded": made["amount_refunded"] + rest}
    _told(world, made, "charge.captured", before)
    if payment is not None:
        succeeded(world, made, payment)
    return made


def let_go(world: World, made: Object, event: str, reason: str | None = None) -> None:
    """Nothing of an authorization is taken."""
    release(world, made, made["amount"], reason=reason)
    world.change(made, event, amount_refunded=made["amount"], refunded=True)


@action
def hold_expires(world: World, id: str) -> None:
    """An authorization that was not captured in time goes back to the cardholder, and the intent is canceled."""
    made = world.the(id, "charge")
    if made["captured"] or made["refunded"]:
        return
    let_go(world, made, "charge.expired", "expired_uncaptured_charge")
    if made["payment_intent"]:
        world.change(
            world.the(made["payment_intent"], "payment_intent"), "payment_intent.canceled", status="canceled",
            canceled_at=world.now, cancellation_reason="expired", amount_capturable=0,
        )  # fmt: skip
