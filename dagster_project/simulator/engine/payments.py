"""Payment intents: from the wish for money to its arrival.

Statuses: https://docs.stripe.com/payments/paymentintents/lifecycle. Nobody sits before a screen here: a customer who
has to authenticate does so `AUTHENTICATES` seconds later, and the payment goes on by itself. Until then the intent can
be confirmed again, with another payment method, or canceled.
"""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import bank_debits, cards, charges
from dagster_project.simulator.engine.business import HOUR
from dagster_project.simulator.engine.world import Object, World, action

AUTHENTICATES = HOUR // 6
_OPTIONS: dict[str, Object] = {
    "card": {"installments": None, "mandate_options": None, "network": None, "request_three_d_secure": "automatic"},
    "us_bank_account": {"verification_method": "automatic"},
    "sepa_debit": {},
}
CANCELABLE = ("requires_payment_method", "requires_confirmation", "requires_action", "requires_capture", "processing")


def intent(world: World, customer: Object, amount: int, currency: str, method: str | None, description: str) -> Object:
    """The payment intent of an invoice, to be charged to a payment method of the customer."""
    kind = world.the(method, "payment_method")["type"] if method else "card"
    status = "requires_confirmation" if method else "requires_payment_method"
    return create(
        world, [kind], amount=amount, currency=currency, customer=customer["id"], description=description,
        payment_method=method, status=status,
    )  # fmt: skip


def create(world: World, types: list[str], **fields: Any) -> Object:
    """A payment intent that takes payment methods of these types."""
    made = world.add(
        "payment_intent", "pi", payment_method_types=types,
        **{"payment_method_options": options(types), **fields},
    )  # fmt: skip
    made["client_secret"] = f"{made['id']}_secret_simulated"
    world.emit("payment_intent.created", made)
    return made


def options(types: list[str]) -> Object:
    """What an intent says of each type of payment method unless told otherwise."""
    return {kind: dict(_OPTIONS[kind]) for kind in types}


def charge(world: World, payment: Object, customer: Object | None, *, works: bool | None) -> Object:
    """One attempt to collect a payment intent without the customer present; afterwards its `status` tells the outcome.

    `works` is the luck of a made-up business; None leaves it to the payment method. A test payment method does what it
    is for in any case. The charge of a card that must be authenticated fails, and the intent requires action. A bank
    debit is under way for days.
    """
    method = world.the(payment["payment_method"], "payment_method")
    does = cards.behaviour(world, method["id"])
    if method["type"] not in payment["payment_method_types"]:
        types = [*payment["payment_method_types"], method["type"]]
        world.change(payment, None, payment_method_types=types, payment_method_options=options(types))
    if method["type"] != "card":
        return bank_debits.debit(world, payment, customer, method, works=works)
    chance = works is not None and does is None
    decline = decline_of(does, present=False) if does else "insufficient_funds" if works is False else None
    made = charges.of_card(world, payment, customer, method, decline=decline, chance=chance)
    if decline == "authentication_required":
        _require_action(world, payment, method["id"])
    return made


def confirm(world: World, payment: Object, *, off_session: bool, return_url: str | None = None) -> Object | None:
    """Try to pay with the customer present, unless `off_session`. Gives the charge, None when there is none yet."""
    method = world.the(payment["payment_method"], "payment_method")
    customer = _customer(world, payment)
    if method["type"] != "card":
        return bank_debits.debit(world, payment, customer, method, works=None)
    asked = payment["payment_method_options"].get("card", {}).get("request_three_d_secure") in ("any", "challenge")
    if not off_session and (asked or needs_authentication(world, method["id"])):
        _require_action(world, payment, method["id"], return_url)
        return None
    decline = decline_of(cards.behaviour(world, method["id"]), present=not off_session)
    return charges.of_card(world, payment, customer, method, decline=decline)


def _customer(world: World, payment: Object) -> Object | None:
    """Whose payment it is, if it is anybody's who was not deleted since."""
    found = world.store.get(payment["customer"], "customer") if payment["customer"] else None
    return None if found is None or found.get("deleted") else found


def needs_authentication(world: World, method: str) -> bool:
    return (cards.behaviour(world, method) or "").partition(":")[0] in ("authenticate", "authenticate_first")


def decline_of(does: str | None, *, present: bool) -> str | None:
    """The decline code of a charge, by what the card is for and whether its holder is there to authenticate."""
    word, _, detail = (does or "").partition(":")
    if word == "declined":
        return detail.rpartition(":")[2]
    if word == "blocked":
        return "fraudulent"
    if word in ("authenticate", "authenticate_first"):
        return (detail or None) if present else "authentication_required"
    return None


# ---- 3-D Secure ------------------------------------------------------------------------------------------------
def _require_action(world: World, payment: Object, method_id: str, return_url: str | None = None) -> None:
    world.change(
        payment,
        "payment_intent.requires_action",
        status="requires_action",
        next_action=next_action(payment["id"], return_url),
        payment_method=method_id,
    )
    world.later(world.now + AUTHENTICATES, customer_authenticates, payment["id"], method_id)


def next_action(id: str, return_url: str | None) -> Object:
    """Where the customer would authenticate."""
    url = f"https://hooks.example.com/3d_secure_2/{id}"
    if return_url:
        return {"type": "redirect_to_url", "redirect_to_url": {"return_url": return_url, "url": url}}
    return {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url}}


@action
def customer_authenticates(world: World, id: str, method_id: str) -> None:
    """The customer has passed 3-D Secure; a payment that went another way in the meantime is left alone."""
    payment = world.the(id, "payment_intent")
    if payment["status"] != "requires_action" or payment["payment_method"] != method_id:
        return
    customer = _customer(world, payment)
    decline = decline_of(cards.behaviour(world, method_id), present=True)
    method = world.the(method_id, "payment_method")
    charges.of_card(world, payment, customer, method, decline=decline, authenticated=True)
    charges.settled(world, payment)


# ---- capture and cancel ----------------------------------------------------------------------------------------
def capture(world: World, payment: Object, amount: int) -> Object:
    """Take what was authorized, or a part; the rest is released. Raises ValueError for more than that."""
    if not 0 < amount <= payment["amount_capturable"]:
        raise ValueError(f"{amount} is not capturable of {payment['amount_capturable']}")
    charges.capture(world, world.the(payment["latest_charge"], "charge"), payment, amount)
    return payment


def cancel(world: World, payment: Object, reason: str | None) -> Object:
    """No money will be taken; what was authorized is released, a bank debit under way is stopped."""
    if payment["status"] == "requires_capture":
        charges.let_go(world, world.the(payment["latest_charge"], "charge"), "charge.refunded")
    elif payment["status"] == "processing":
        bank_debits.stop(world, world.the(payment["latest_charge"], "charge"))
    world.change(
        payment, "payment_intent.canceled", status="canceled", canceled_at=world.now, cancellation_reason=reason,
        amount_capturable=0, next_action=None,
    )  # fmt: skip
    charges.settled(world, payment)
    return payment
