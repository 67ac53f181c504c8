"""Payment intents, as callers create, confirm, capture and cancel them.

A card that needs 3-D Secure leaves the intent in `requires_action`; its holder authenticates ten minutes of the clock
later (see `engine/payments.py`), unless the intent is confirmed with another payment method or canceled before.
"""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.calls import amounts, payment_methods
from dagster_project.simulator.engine import charges, connect, payments, shapes
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]
_AS_GIVEN = ("capture_method", "confirmation_method", "description", "receipt_email", "setup_future_usage",
             "statement_descriptor", "statement_descriptor_suffix", "transfer_group",
             "application_fee_amount")  # fmt: skip
_LATE = {"description", "metadata", "receipt_email", "transfer_group"}  # what may change once money was taken
_SHIPPING = ("address", "carrier", "name", "phone", "tracking_number")
_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")


def create(world: World, params: Params) -> Object:
    """Raises ApiError 402 when it is confirmed at once and declined; the intent stays on record."""
    amounts.check(params["amount"], params["currency"])
    customer, method = params.get("customer"), payment_methods.given(world, params)
    if not params.get("confirm"):
        for name in ("off_session", "error_on_requires_action", "return_url"):
            if params.get(name):
                raise invalid_parameter(name, f"The parameter {name} cannot be passed when creating a PaymentIntent"
                " unless confirm is set to true.")  # fmt: skip
    automatic = params.get("automatic_payment_methods")
    types = payment_methods.types(params, params["currency"])
    payment_methods.fits(world, method, customer and customer["id"], types)
    shown = fields(world, params)
    if automatic:
        shown["automatic_payment_methods"] = {
            "enabled": automatic["enabled"], "allow_redirects": automatic.get("allow_redirects") or "always",
        }  # fmt: skip
    shown.setdefault("capture_method", "automatic_async")  # https://docs.stripe.com/changelog/2024-04-10
    if params.get("payment_method_options"):
        shown["payment_method_options"] = options(types, params["payment_method_options"])
    made = payments.create(
        world, types, amount=params["amount"], currency=params["currency"], customer=customer and customer["id"],
        payment_method=method and method["id"],
        status="requires_confirmation" if method else "requires_payment_method", **shown,
    )  # fmt: skip
    _within(made)
    params.pop("payment_method_data", None)
    return _confirm(world, made, params) if params.get("confirm") else made


def update(world: World, params: Params, intent: Object) -> Object:
    """Stripe announces no change of a payment intent's description."""
    if intent["status"] not in ("requires_payment_method", "requires_confirmation", "requires_action"):
        for name in params.keys() - _LATE:
            raise _unexpected(
                intent, f"This PaymentIntent's {name} could not be updated because it has a status of"
                f" {intent['status']}. You may only update the {name} of a PaymentIntent with one of the following"
                " statuses: requires_payment_method, requires_confirmation, requires_action.", name,
            )  # fmt: skip
    changes = fields(world, params, intent)
    for name in ("amount", "currency"):
        if params.get(name) is not None:
            changes[name] = params[name]
    if {"amount", "currency"} & changes.keys():
        now = {**intent, **changes}
        amounts.check(now["amount"], now["currency"])
    customer = params["customer"]["id"] if params.get("customer") else intent["customer"]
    types = {**intent, **changes}["payment_method_types"]
    if "payment_method" in params:
        method = params["payment_method"]
        payment_methods.fits(world, method, customer, types)
        status = "requires_confirmation" if method else "requires_payment_method"
        changes |= {"payment_method": method and method["id"], "status": status, "next_action": None}
    world.change(intent, None, customer=customer, **changes)
    _within(intent)
    return intent


def confirm(world: World, params: Params, intent: Object) -> Object:
    return _confirm(world, intent, params)


def _within(intent: Object) -> None:
    """Nothing more than the payment can be passed on or taken. Raises ApiError 400."""
    for name, part in (
        ("application_fee_amount", intent["application_fee_amount"]),
        ("transfer_data[amount]", (intent.get("transfer_data") or {}).get("amount")),
    ):
        if part and part > intent["amount"]:
            raise invalid_parameter(name, f"The {name} ({part}) must not be more than the amount ({intent['amount']}).")


def _confirm(world: World, intent: Object, params: Params) -> Object:
    """Raises ApiError 402 when the payment is declined: what was attempted stays on record."""
    if intent["status"] not in ("requires_payment_method", "requires_confirmation", "requires_action"):
        already = "it has already succeeded after being previously confirmed" if intent["status"] == "succeeded" else (
            f"it has a status of {intent['status']}")  # fmt: skip
        raise _unexpected(intent, f"You cannot confirm this PaymentIntent because {already}.")
    changes = fields(world, {name: params[name] for name in params if name in _CONFIRMED}, intent)
    types = {**intent, **changes}["payment_method_types"]
    method = payment_methods.given(world, params)
    if method is None and intent["payment_method"]:
        method = world.the(intent["payment_method"], "payment_method")
    if method is None:
        raise _unexpected(
            intent, "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update"
            " the PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a"
            " payment method or ConfirmationToken.",
        )  # fmt: skip
    payment_methods.fits(world, method, intent["customer"], types)
    captured_later = changes.get("capture_method", intent["capture_method"]) == "manual"
    if captured_later and method["type"] != "card":
        raise invalid_parameter("capture_method", f"Manual capture is not supported for {method['type']}.")
    if method["type"] == "us_bank_account" and intent["currency"] != "usd":
        raise invalid_parameter("currency", "The currency of a us_bank_account payment must be usd.")
    if method["type"] == "sepa_debit" and intent["currency"] != "eur":
        raise invalid_parameter("currency", "The currency of a sepa_debit payment must be eur.")
    off_session = bool(params.get("off_session"))
    payment_methods.accepts(world, method, params)
    if params.get("payment_method_options"):
        changes["payment_method_options"] = options(types, params["payment_method_options"], intent)
    world.change(intent, None, payment_method=method["id"], **changes)
    if params.get("error_on_requires_action") and payments.needs_authentication(world, method["id"]):
        raise ApiError(
            402, "Your card was declined. This transaction requires authentication.", type="card_error",
            code="authentication_required", decline_code="authentication_required",
            payment_intent=shapes.frozen(intent), payment_method=shapes.frozen(method),
        )  # fmt: skip
    payments.confirm(world, intent, off_session=off_session, return_url=params.get("return_url"))
    if intent["status"] in ("succeeded", "requires_payment_method"):
        charges.settled(world, intent)
    if intent["status"] == "requires_payment_method":
        raise declined(intent)
    return intent


def declined(intent: Object) -> ApiError:
    """The error that tells why the last attempt failed."""
    error: Object = shapes.frozen(intent["last_payment_error"])
    error.pop("doc_url")
    return ApiError(402, error.pop("message"), payment_intent=shapes.frozen(intent), **error)


def capture(world: World, params: Params, intent: Object) -> Object:
    if intent["status"] != "requires_capture":
        raise _unexpected(
            intent, f"This PaymentIntent could not be captured because it has a status of {intent['status']}. Only a"
            " PaymentIntent with one of the following statuses may be captured: requires_capture.",
        )  # fmt: skip
    amount = params.pop("amount_to_capture", None)
    amount = intent["amount_capturable"] if amount is None else amount
    if not 0 < amount <= intent["amount_capturable"]:
        raise invalid_parameter(
            "amount_to_capture",
            f"The amount to capture must be positive and at most the capturable amount, {intent['amount_capturable']}.",
            "amount_too_large" if amount else "amount_too_small",
        )
    charge = world.the(intent["latest_charge"], "charge")
    changes = fields(world, params, intent)
    world.change(intent, None, **changes)
    charge |= connect.fields_of(world, intent)
    return payments.capture(world, intent, amount)


def cancel(world: World, params: Params, intent: Object) -> Object:
    if intent["status"] not in payments.CANCELABLE:
        raise _unexpected(
            intent, f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. Only a"
            " PaymentIntent with one of the following statuses may be canceled: requires_payment_method,"
            " requires_capture, requires_confirmation, requires_action, processing.",
        )  # fmt: skip
    return payments.cancel(world, intent, params.get("cancellation_reason"))


# ---- what callers may say --------------------------------------------------------------------------------------
_CONFIRMED = {
    "allowed_payment_method_types", "capture_method", "receipt_email", "setup_future_usage", "shipping",
}  # fmt: skip


def fields(world: World, params: Params, intent: Object | None = None) -> Object:
    """The parameters that an intent shows as they are."""
    made: Object = {name: params[name] for name in _AS_GIVEN if name in params}
    for name in ("capture_method", "confirmation_method"):
        if made.get(name, "") is None:
            del made[name]
    for name, most in (("statement_descriptor", 22), ("statement_descriptor_suffix", 22)):
        if len(made.get(name) or "") > most:
            raise invalid_parameter(name, f"Your statement descriptor must be at most {most} characters.")
    if "metadata" in params:
        made["metadata"] = merged((intent or {}).get("metadata"), params["metadata"])
    if params.get("shipping"):
        made["shipping"] = shipping(params["shipping"])
    if params.get("on_behalf_of"):
        made["on_behalf_of"] = params["on_behalf_of"]["id"]
    if "allowed_payment_method_types" in params:
        made["allowed_payment_method_types"] = params["allowed_payment_method_types"] or None
        made["payment_method_types"] = payment_methods.types(params, "")
    if data := params.get("transfer_data"):
        made["transfer_data"] = {**((intent or {}).get("transfer_data") or {}), **data}
        if "destination" in data:
            destination = data["destination"]["id"]
            if destination not in world.meta.get("accounts", ()):  # the own account is none of its connected ones
                raise missing("destination", destination, param="transfer_data[destination]")
            made["transfer_data"]["destination"] = destination
    if world is not world.platform:
        made["application"] = connect.application(world)
    elif made.get("application_fee_amount") and not (made.get("transfer_data") or (intent or {}).get("transfer_data")):
        raise invalid_parameter(
            "application_fee_amount",
            "Can only apply an application_fee_amount when the PaymentIntent is attempting a direct payment (using an"
            " OAuth key or Stripe-Account header) or destination payment (using `transfer_data[destination]`).",
        )
    if intent is None:
        made.pop("payment_method_types", None)
    return made


def options(types: list[str], given: Params, intent: Object | None = None) -> Object:
    """Per type of payment method what the intent says of it. Raises ApiError 400 for a type that it does not take."""
    made: Object = {**(intent["payment_method_options"] if intent else payments.options(types))}
    for kind, chosen in given.items():
        if kind not in types:
            raise invalid_parameter(
                f"payment_method_options[{kind}]", f"The type {kind} is not one that this PaymentIntent takes."
            )
        made[kind] = {**made.get(kind, {}), **{name: value for name, value in (chosen or {}).items() if value}}
    return made


def shipping(given: Params) -> Object:
    """Where goods are sent, with every key."""
    address = {**dict.fromkeys(_ADDRESS), **given["address"]}
    return {**dict.fromkeys(_SHIPPING), **given, "address": address}


def _unexpected(intent: Object, message: str, param: str | None = None) -> ApiError:
    return ApiError(
        400, message, code="payment_intent_unexpected_state", param=param, payment_intent=shapes.frozen(intent)
    )
