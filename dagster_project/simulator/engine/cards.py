"""Payment methods: cards and bank accounts, whose they are and how they behave."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import shapes, test_methods
from dagster_project.simulator.engine.world import Object, World

_KEPT = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4", "regulated_status")
_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")


def card(world: World, customer: Object) -> Object:
    """A card of the customer, attached."""
    dice = world.chance("card", customer["id"])
    brand = dice.choice(("visa", "visa", "mastercard", "amex"))
    address = customer["address"]
    billing = {
        "address": address, "email": customer["email"], "name": customer["name"], "phone": None, "tax_id": None,
    }  # fmt: skip
    details = {
        "brand": brand, "country": address["country"], "exp_month": dice.randint(1, 12),
        "fingerprint": f"{dice.getrandbits(64):016x}", "last4": f"{dice.randint(0, 9999):04d}",
    }  # fmt: skip
    method = world.add(
        "payment_method", "pm", type="card", customer=customer["id"], billing_details=billing, metadata={},
        allow_redisplay="unspecified", card=_card_hash(**details),
    )  # fmt: skip
    world.emit("payment_method.attached", method)
    return method


def _card_hash(*, brand: str, **fields: Any) -> Object:
    made: Object = {
        "brand": brand, "checks": {"address_line1_check": None, "address_postal_code_check": "pass",
        "cvc_check": "pass"}, "country": "US", "display_brand": brand, "exp_month": 12, "exp_year": 2029,
        "fingerprint": None, "funding": "credit", "generated_from": None, "last4": "4242",
        "networks": {"available": [brand], "preferred": None}, "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True}, "wallet": None,
    }  # fmt: skip
    return made | fields


# ---- how a payment method behaves ------------------------------------------------------------------------------
def behaviour(world: World, payment_method_id: str) -> str | None:
    """What a test payment method is for, in the words of `test_methods`; None for an ordinary one."""
    found: str | None = world.meta.get("behaviours", {}).get(payment_method_id)
    return found


def behaves(world: World, method: Object, how: str | None) -> None:
    """Let a payment method behave in a certain way from now on."""
    known = world.meta.setdefault("behaviours", {})
    if how is not None:
        known[method["id"]] = how
    else:
        known.pop(method["id"], None)


def from_token(world: World, token: str) -> Object | None:
    """A new payment method, of no customer yet, of the kind that a token such as pm_card_visa names."""
    found = test_methods.named(token)
    if found is None or not token.startswith("pm_"):
        return None
    kind, number, how = found
    details = numbered_card(world, number) if kind == "card" else numbered_account(world, kind, number)
    return create(world, kind, details, how)


def create(world: World, kind: str, details: Object, how: str | None, **fields: Any) -> Object:
    """A payment method of no customer. Stripe announces it only once it is attached."""
    method = world.add(
        "payment_method", "pm", type=kind, allow_redisplay="unspecified", **{"metadata": {}, **fields, kind: details}
    )
    behaves(world, method, how)
    return method


def numbered_card(world: World, number: str, exp_month: int = 12, exp_year: int = 2034) -> Object:
    """What a card with this number looks like; the same number has the same fingerprint."""
    return _card_hash(
        brand=test_methods.brand(number) or "unknown", last4=number[-4:], country=test_methods.country(number),
        exp_month=exp_month, exp_year=exp_year, funding=test_methods.funding(number),
        fingerprint=_fingerprint(world, number),
    )  # fmt: skip


def numbered_account(world: World, kind: str, number: str, routing: str = "110000000", **fields: Any) -> Object:
    """A bank account by its number, or by its IBAN."""
    if kind == "sepa_debit":
        return {
            "bank_code": number[4:12], "branch_code": "", "country": number[:2], "generated_from":
            {"charge": None, "setup_attempt": None}, "fingerprint": _fingerprint(world, number), "last4": number[-4:],
        }  # fmt: skip
    return {
        "account_holder_type": "individual", "account_type": "checking", "bank_name": "STRIPE TEST BANK",
        "financial_connections_account": None, "fingerprint": _fingerprint(world, number), "last4": number[-4:],
        "networks": {"preferred": "ach", "supported": ["ach"]}, "routing_number": routing, "status_details": {},
        **fields,
    }  # fmt: skip


def _fingerprint(world: World, number: str) -> str:
    return f"{world.chance('fingerprint', number).getrandbits(64):016x}"


# ---- whose they are --------------------------------------------------------------------------------------------
def attach(world: World, method: Object, customer: Object) -> Object:
    if method["customer"] == customer["id"]:
        return method
    method["customer"] = customer["id"]
    world.store.save(method)
    world.emit("payment_method.attached", method)
    return method


def detach(world: World, method: Object) -> Object:
    """Take a payment method from its customer; it cannot be used again."""
    owner = method["customer"]
    used_up(world, method)
    return world.change(method, "payment_method.detached", customer=None) if owner else method


def used_up(world: World, method: Object) -> None:
    """A payment method without a customer works once."""
    world.meta.setdefault("used_up", {})[method["id"]] = 1


def is_used_up(world: World, method: Object) -> bool:
    return method["customer"] is None and method["id"] in world.meta.get("used_up", ())


def mandate(world: World, method: Object, acceptance: Object) -> Object:
    """The permission of the account holder to debit the account from now on."""
    kind = method["type"]
    details: Object = {
        "sepa_debit": {"reference": f"LL{world.number('mandate'):08d}", "url": "https://example.com/sepa"}
    }
    made: Object = {
        "id": world.id("mandate"), "object": "mandate", "livemode": world.livemode, "payment_method": method["id"],
        "customer_acceptance": {"accepted_at": world.now, **acceptance}, "multi_use": {}, "status": "active",
        "payment_method_details": {"type": kind, kind: details.get(kind, {})}, "type": "multi_use",
    }  # fmt: skip
    world.store.insert(made)
    world.meta.setdefault("mandates", {})[method["id"]] = made["id"]
    return made


def mandate_of(world: World, payment_method_id: str) -> str | None:
    found: str | None = world.meta.get("mandates", {}).get(payment_method_id)
    return found


def withdraw_mandate(world: World, payment_method_id: str) -> None:
    """The account holder does not permit debits any more."""
    if known := world.meta.get("mandates", {}).pop(payment_method_id, None):
        world.change(world.the(known, "mandate"), "mandate.updated", status="inactive")


def billing(given: Object, current: Object | None = None) -> Object:
    """Billing details with every key; what is given replaces what was there."""
    known = current or {"address": None, "email": None, "name": None, "phone": None, "tax_id": None}
    made = {**known, **given}
    if given.get("address"):
        made["address"] = {**dict.fromkeys(_ADDRESS), **(known["address"] or {}), **given["address"]}
    return made


# ---- as charges show them --------------------------------------------------------------------------------------
def charged(method: Object, amount: int, *, authenticated: bool = False, **more: Any) -> Object:
    """`payment_method_details` of a charge."""
    kind = method["type"]
    return {"type": kind, kind: _charged_card(method["card"], amount, authenticated, more) if kind == "card" else {
        **_charged_account(method), **more}}  # fmt: skip


def _charged_account(method: Object) -> Object:
    account: Object = method[method["type"]]
    if method["type"] == "sepa_debit":
        return {name: account[name] for name in ("bank_code", "branch_code", "country", "fingerprint", "last4")} | {
            "mandate": None
        }
    kept = ("account_holder_type", "account_type", "bank_name", "fingerprint", "last4", "routing_number")
    return {name: account[name] for name in kept} | {"payment_reference": None}


def _charged_card(card: Object, amount: int, authenticated: bool, more: Object) -> Object:
    secure = {
        "authentication_flow": "challenge", "electronic_commerce_indicator": "05", "exemption_indicator": None,
        "result": "authenticated", "result_reason": None, "transaction_id": None, "version": "2.2.0",
    }  # fmt: skip
    return {name: card[name] for name in _KEPT} | {
        "amount_authorized": amount, "authorization_code": None,
        "electronic_commerce_indicator": "05" if authenticated else None,
        "transaction_link_id": None, "extended_authorization": {"status": "disabled"},
        "incremental_authorization": {"status": "unavailable"}, "installments": None, "mandate": None,
        "multicapture": {"status": "unavailable"}, "network": card["brand"], "network_token": {"used": False},
        "network_transaction_id": None, "overcapture": {"maximum_amount_capturable": amount,
        "status": "unavailable"}, "three_d_secure": secure if authenticated else None, "wallet": None, **more,
    }  # fmt: skip


def shown(method: Object) -> Object:
    """A copy, as errors carry the payment method that they are about."""
    return shapes.frozen(method)
