"""Setup intents: a payment method is checked and kept for later, without money.

Source: https://docs.stripe.com/payments/setup-intents. As with payments, a customer who has to authenticate does so
`payments.AUTHENTICATES` seconds later.
"""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import cards, charges, payments
from dagster_project.simulator.engine.world import Object, World, action

_OPTIONS: dict[str, Object] = {
    "card": {"mandate_options": None, "network": None, "request_three_d_secure": "automatic"},
    "us_bank_account": {"verification_method": "automatic"},
    "sepa_debit": {},
}
CANCELABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


def create(world: World, types: list[str], **fields: Any) -> Object:
    made = world.add(
        "setup_intent", "seti", payment_method_types=types,
        payment_method_options={kind: _OPTIONS[kind] for kind in types}, **{"metadata": {}, **fields},
    )  # fmt: skip
    made["client_secret"] = f"{made['id']}_secret_simulated"
    world.emit("setup_intent.created", made)
    return made


def confirm(world: World, setup: Object, return_url: str | None = None) -> Object:
    """Check the payment method; afterwards the setup intent's `status` tells the outcome. Gives the attempt."""
    method = world.the(setup["payment_method"], "payment_method")
    word, _, detail = (cards.behaviour(world, method["id"]) or "").partition(":")
    attempt = world.add(
        "setup_attempt", "setatt", setup_intent=setup["id"], payment_method=method["id"], customer=setup["customer"],
        usage=setup["usage"], on_behalf_of=setup["on_behalf_of"], status="processing",
        payment_method_details=_details(method),
    )  # fmt: skip
    if word in ("authenticate", "authenticate_first"):
        world.change(attempt, None, status="requires_action")
        world.change(
            setup, "setup_intent.requires_action", status="requires_action", latest_attempt=attempt["id"],
            next_action=payments.next_action(setup["id"], return_url), last_setup_error=None,
        )  # fmt: skip
        world.later(world.now + payments.AUTHENTICATES, customer_sets_up, setup["id"], attempt["id"])
    elif word == "blocked" or (word == "declined" and not detail.startswith("attached")):
        _failed(world, setup, attempt, method, detail or "fraudulent")
    else:
        _succeeded(world, setup, attempt, method)
    return attempt


def _details(method: Object, *, authenticated: bool = False) -> Object:
    kind = method["type"]
    if kind != "card":
        return {"type": kind, kind: {}}
    names = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")
    shown = {name: method["card"][name] for name in names}
    secure = {
        "authentication_flow": "challenge", "electronic_commerce_indicator": "05", "result": "authenticated",
        "result_reason": None, "transaction_id": None, "version": "2.2.0",
    }  # fmt: skip
    more = {"network": shown["brand"], "three_d_secure": secure if authenticated else None, "wallet": None}
    return {"type": "card", "card": {**shown, **more}}


@action
def customer_sets_up(world: World, id: str, attempt_id: str) -> None:
    """The customer has authenticated, unless the setup went another way in the meantime."""
    setup = world.the(id, "setup_intent")
    if setup["status"] != "requires_action" or setup["latest_attempt"] != attempt_id:
        return
    method = world.the(setup["payment_method"], "payment_method")
    attempt = world.the(attempt_id, "setup_attempt")
    world.change(attempt, None, payment_method_details=_details(method, authenticated=True))
    _succeeded(world, setup, attempt, method)


def _succeeded(world: World, setup: Object, attempt: Object, method: Object) -> None:
    world.change(attempt, None, status="succeeded")
    owner = world.store.get(setup["customer"], "customer") if setup["customer"] else None
    if owner and not owner.get("deleted"):
        cards.attach(world, method, owner)
    if cards.behaviour(world, method["id"]) == "authenticate_first":
        cards.behaves(world, method, None)  # from now on it works without its holder
    world.change(
        setup, "setup_intent.succeeded", status="succeeded", latest_attempt=attempt["id"], last_setup_error=None,
        next_action=None, mandate=cards.mandate_of(world, method["id"]),
    )  # fmt: skip


def _failed(world: World, setup: Object, attempt: Object, method: Object, decline: str) -> None:
    code, message, _ = charges.DECLINES[decline]
    error = charges.card_error(code, message, decline_code=decline, payment_method=cards.shown(method))
    world.change(attempt, None, status="failed", setup_error=error)
    world.change(
        setup, "setup_intent.setup_failed", status="requires_payment_method", latest_attempt=attempt["id"],
        last_setup_error=error, payment_method=None, next_action=None,
    )  # fmt: skip


def cancel(world: World, setup: Object, reason: str | None) -> Object:
    if setup["latest_attempt"] and setup["status"] == "requires_action":
        world.change(world.the(setup["latest_attempt"], "setup_attempt"), None, status="abandoned")
    return world.change(setup, "setup_intent.canceled", status="canceled", cancellation_reason=reason, next_action=None)
