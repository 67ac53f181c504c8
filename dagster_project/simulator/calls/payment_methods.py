"""Payment methods, as callers make, attach, change and detach them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from dagster_project.simulator.engine import cards, charges, test_methods
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing, required_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]
_KINDS = ("card", "us_bank_account", "sepa_debit")
_DEBITED = {"": list(_KINDS), "usd": ["card", "us_bank_account"], "eur": ["card", "sepa_debit"]}
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{10,30}", re.ASCII)


def create(world: World, params: Params) -> Object:
    """A card by its number or a token, a bank account by its numbers or its IBAN."""
    kind = params["type"]
    given = params.get(kind)
    if not given:
        raise required_parameter(kind)
    details, how = {"card": _card, "us_bank_account": _account, "sepa_debit": _iban}[kind](world, given)
    fields: Object = {"billing_details": cards.billing(params.get("billing_details") or {})}
    if kind != "card" and not fields["billing_details"]["name"]:
        raise required_parameter("billing_details[name]")
    for name in ("metadata", "allow_redisplay"):
        if params.get(name):
            fields[name] = params[name]
    return cards.create(world, kind, details, how, **fields)


def _card(world: World, given: Params) -> tuple[Object, str | None]:
    if token := given.get("token"):
        named = test_methods.named(token)
        if named is None or not token.startswith("tok_"):
            raise missing("token", token, param="card[token]")
        return cards.numbered_card(world, named[1]), named[2]
    for name in ("number", "exp_month", "exp_year"):
        if not given.get(name):
            raise required_parameter(f"card[{name}]")
    number = given["number"].replace(" ", "")
    if not number.isdecimal() or not test_methods.valid_number(number) or not test_methods.brand(number):
        raise _refused("incorrect_number", "Your card number is incorrect.", "number")
    today = datetime.fromtimestamp(world.now, UTC)
    if not 1 <= given["exp_month"] <= 12:
        raise _refused("invalid_expiry_month", "Your card's expiration month is invalid.", "exp_month")
    year = given["exp_year"] + (2000 if given["exp_year"] < 100 else 0)
    if not (today.year, today.month) <= (year, given["exp_month"]) <= (today.year + 50, 12):
        raise _refused("invalid_expiry_year", "Your card's expiration year is invalid.", "exp_year")
    if given.get("cvc") and not re.fullmatch(r"\d{3,4}", given["cvc"], re.ASCII):
        raise _refused("invalid_cvc", "Your card's security code is invalid.", "cvc")
    return cards.numbered_card(world, number, given["exp_month"], year), test_methods.of_card(number)


def _refused(code: str, message: str, param: str) -> ApiError:
    return ApiError(402, message, type="card_error", code=code, param=param)


def _account(world: World, given: Params) -> tuple[Object, str | None]:
    for name in ("account_number", "routing_number"):
        if not given.get(name):
            raise required_parameter(f"us_bank_account[{name}]")
    number, routing = given.pop("account_number"), given.pop("routing_number")
    if not re.fullmatch(r"\d{9}", routing, re.ASCII):
        raise invalid_parameter(
            "us_bank_account[routing_number]", "The routing number must have 9 digits.", "routing_number_invalid"
        )
    if not re.fullmatch(r"\d{4,17}", number, re.ASCII):
        raise invalid_parameter(
            "us_bank_account[account_number]", "The account number is invalid.", "account_number_invalid"
        )
    holder = {name: value for name, value in given.items() if value}
    return cards.numbered_account(world, "us_bank_account", number, routing, **holder), test_methods.of_account(number)


def _iban(world: World, given: Params) -> tuple[Object, str | None]:
    number = given["iban"].replace(" ", "").upper()
    if not _IBAN.fullmatch(number):
        raise invalid_parameter("sepa_debit[iban]", "The IBAN you provided is invalid.", "invalid_bank_account_iban")
    return cards.numbered_account(world, "sepa_debit", number), test_methods.of_account(number)


def update(world: World, params: Params, method: Object) -> Object:
    kind, changes = method["type"], {}  # type: str, Object
    for other in ("card", "us_bank_account"):
        if params.get(other):
            if other != kind:
                raise invalid_parameter(other, f"You cannot update `{other}` of a PaymentMethod of type {kind}.")
            changes[kind] = {**method[kind], **{name: value for name, value in params[other].items() if value}}
    if params.get("billing_details"):
        changes["billing_details"] = cards.billing(params["billing_details"], method["billing_details"])
    if params.get("allow_redisplay"):
        changes["allow_redisplay"] = params["allow_redisplay"]
    if "metadata" in params:
        changes["metadata"] = merged(method["metadata"], params["metadata"])
    return world.change(method, "payment_method.updated", **changes)


def attach(world: World, params: Params, method: Object) -> Object:
    """Raises ApiError 402 for a card that its issuer declines already now."""
    customer = params["customer"]
    if method["customer"] not in (None, customer["id"]):
        raise ApiError(400, "The payment method you provided has already been attached to a customer.")
    usable(world, method)
    word, _, decline = (cards.behaviour(world, method["id"]) or "").partition(":")
    if word == "declined" and not decline.startswith("attached"):
        code, message, _ = charges.DECLINES[decline]
        raise ApiError(402, message, type="card_error", code=code, decline_code=decline)
    return cards.attach(world, method, customer)


def given(world: World, params: Params) -> Object | None:
    """The payment method that an intent is to use: one that exists, or a new one of `payment_method_data`."""
    data = params.get("payment_method_data")
    if data is None:
        return params.get("payment_method")
    if params.get("payment_method"):
        raise invalid_parameter(
            "payment_method_data", "You may only specify one of these parameters: payment_method, payment_method_data."
        )
    return create(world, data)


def usable(world: World, method: Object) -> None:
    if cards.is_used_up(world, method):
        raise ApiError(
            400, "This PaymentMethod was previously used without being attached to a Customer or was detached from a"
            " Customer, and may not be used again.", param="payment_method",
        )  # fmt: skip


def detach(world: World, params: Params, method: Object) -> Object:
    if method["customer"] is None:
        raise ApiError(
            400, "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    customer = world.store.get(method["customer"], "customer")
    if customer and customer.get("invoice_settings", {}).get("default_payment_method") == method["id"]:
        settings = {**customer["invoice_settings"], "default_payment_method": None}
        world.change(customer, "customer.updated", invoice_settings=settings)
    return cards.detach(world, method)


# ---- what intents ask of them ----------------------------------------------------------------------------------
def types(params: Params, currency: str) -> list[str]:
    """Which types of payment method an intent takes. Raises ApiError 400 for one that is not known here."""
    asked = params.get("allowed_payment_method_types")
    if not asked:
        return _DEBITED.get(currency, ["card"])
    for each in asked:
        if each not in _KINDS:
            raise invalid_parameter(
                "allowed_payment_method_types", f"The payment method type {each} is not activated for this account."
            )
    return list(dict.fromkeys(asked))


def fits(world: World, method: Object | None, customer: str | None, types: list[str]) -> None:
    """Whether a payment method may be used here. Raises ApiError 400 when not."""
    if method is None:
        return
    usable(world, method)
    if method["customer"] and customer is None:
        raise invalid_parameter(
            "payment_method", f"The PaymentMethod {method['id']} belongs to a Customer, so for security purposes you"
            " must provide the customer in the request."
        )  # fmt: skip
    if method["customer"] and method["customer"] != customer:
        raise invalid_parameter(
            "payment_method",
            "The provided PaymentMethod was previously attached to another Customer and cannot be used here.",
        )
    if method["type"] not in types:
        raise ApiError(
            400, f"The PaymentMethod provided ({method['type']}) is not allowed here. Please attach a"
            f" PaymentMethod of one of the following types: {', '.join(types)}.", param="payment_method",
            code="payment_intent_incompatible_payment_method",
        )  # fmt: skip


def accepts(world: World, method: Object, params: Params) -> None:
    """Keep the customer's permission to debit the account again."""
    if given := params.get("mandate_data"):
        accepted = {name: value for name, value in given["customer_acceptance"].items() if value is not None}
        cards.mandate(world, method, accepted)
