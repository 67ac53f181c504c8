"""expand[]: ids become the objects they name, and lists that Stripe leaves out unless asked are filled in.

Nothing stored is changed: every object on the way is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.http import forms, lists
from dagster_project.simulator.http.api_errors import ApiError
from dagster_project.simulator.http.forms import Params

Object = dict[str, Any]
LEVELS = 4

# Lists that are absent unless expanded: (kind, field) -> (url, kinds of the rows, attribute that names the owner).
# An owner of None means the rows were stored under their parent.
INCLUDABLE: dict[tuple[str, str], tuple[str, tuple[str, ...], str | None]] = {
    ("customer", "sources"): ("/v1/customers/{id}/sources", ("bank_account", "card", "source"), "customer"),
    ("customer", "tax_ids"): ("/v1/customers/{id}/tax_ids", ("tax_id",), "customer"),
    ("customer", "subscriptions"): ("/v1/customers/{id}/subscriptions", ("subscription",), "customer"),
    ("charge", "refunds"): ("/v1/charges/{id}/refunds", ("refund",), "charge"),
    ("invoice", "payments"): ("/v1/invoice_payments?invoice={id}", ("invoice_payment",), "invoice"),
    ("checkout.session", "line_items"): ("/v1/checkout/sessions/{id}/line_items", ("item",), None),
    ("payment_link", "line_items"): ("/v1/payment_links/{id}/line_items", ("item",), None),
    ("quote", "line_items"): ("/v1/quotes/{id}/line_items", ("item",), None),
    ("account", "external_accounts"): ("/v1/accounts/{id}/external_accounts", ("external_account",), None),
}
# Fields that are kept beside their object, and absent unless expanded.
ON_REQUEST = frozenset(("tiers", "currency_options", "applies_to", "amount_paid_off_stripe", "confirmation_secret"))
# Fields that Stripe expands, by their last name; any other one is refused as Stripe refuses it.
EXPANDABLE = frozenset(
    """
    account account_tax_ids application application_fee balance_transaction charge checkout_session coupon
    credit_balance_transaction credit_grant credit_note customer customer_balance_transaction
    default_account_tax_ids default_payment_method default_price default_source default_tax_rates destination
    destination_payment destination_payment_refund discount discounts failure_balance_transaction feature fee
    generated_card generated_sepa_debit invoice latest_attempt latest_charge latest_invoice latest_revision
    linked_transaction mandate meter on_behalf_of original_payout originating_transaction payment_intent
    payment_link payment_method payment_record pending_setup_intent plan price product promotion_code quote
    refund reversed_by review schedule setup_attempt setup_intent shipping_rate source source_refund
    source_transaction source_transfer source_transfer_reversal subscription subscription_schedule tax_code
    test_clock transfer transfer_reversal refunds payments lines items line_items sources subscriptions tax_ids
    external_accounts reversals tiers currency_options applies_to cash_balance invoice_credit_balance tax links
    confirmation_secret data taxes schedule_details amount_paid_off_stripe
    """.split()  # noqa: SIM905
)
# Those that can name an object of another account: of the platform, or of one connected to it.
ACROSS = frozenset(
    ("account", "application_fee", "charge", "destination", "destination_payment", "destination_payment_refund",
     "originating_transaction", "source_transfer", "source_transfer_reversal")
)  # fmt: skip
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def paths(params: Params, *, of_list: bool) -> list[list[str]]:
    """The asked expansions, without the `data.` of lists. Raises ApiError 400 when one is malformed."""
    asked = []
    for text in forms.texts(params, "expand"):
        parts = text.split(".")
        if of_list:
            if parts[0] != "data" or len(parts) < 2:
                raise not_expandable(text, f" You may want to try expanding 'data.{text}' instead.")
            parts = parts[1:]
        if sum(part != "data" for part in parts) > LEVELS:
            raise ApiError(
                400, f"You cannot expand more than {LEVELS} levels of a property. Property: {text}", param="expand"
            )
        asked.append(parts)
    return asked


def rows(store: Store, bodies: Sequence[bytes], asked: Sequence[Sequence[str]]) -> list[bytes]:
    """Expanded bodies; without anything to expand the stored ones."""
    if not asked:
        return list(bodies)
    return [_encode(expanded(store, _decode(body), asked)) for body in bodies]


def expanded(store: Store, obj: Object, asked: Sequence[Sequence[str]]) -> Object:
    """A copy of the object in which every asked field is its object or list."""
    for parts in asked:
        obj = _expand(store, obj, parts, ".".join(parts))
    return obj


def _expand(store: Store, value: Any, parts: Sequence[str], text: str) -> Any:
    if isinstance(value, list):
        return [_expand(store, each, parts, text) for each in value]
    if not parts or not isinstance(value, dict):
        return value
    if value.get("object") == "list":
        rest = parts[1:] if parts[0] == "data" else parts
        return {**value, "data": [_expand(store, each, rest, text) for each in value["data"]]}
    name, rest = parts[0], parts[1:]
    inside = value.get(name)
    if name not in value and name in GONE.get(str(value.get("object")), ()):
        raise not_expandable(text)
    if name in ON_REQUEST and (kept := _on_request(store, value, name)) is not None:
        return {**value, name: kept}
    if inside is None and (str(value.get("object")), name) in INCLUDABLE:
        inside = _included(store, value, name)
    elif name not in value:
        if not rest and name not in EXPANDABLE:
            raise not_expandable(text)
        return value
    elif not rest and not isinstance(inside, dict) and name not in EXPANDABLE:
        raise not_expandable(text)
    if isinstance(inside, list):
        inside = [_object(store, each, name) for each in inside]
    return {**value, name: _expand(store, _object(store, inside, name), rest, text)}


def _object(store: Store, value: Any, field: str) -> Any:
    """The object that an id names, the value itself when nothing is known by it."""
    if not isinstance(value, str):
        return value
    # A recurring price and its plan share one id.
    kind = "plan" if field == "plan" else "price" if field in ("price", "default_price") else None
    return store.get(value, kind) or (_in_another_account(store, value) if field in ACROSS else None) or value


def _in_another_account(store: Store, id: str) -> Object | None:
    root = store.root
    others = [root, *(root.within(account) for account in root.meta.get("accounts", ()))]
    return next((found for each in others if (found := each.get(id)) is not None), None)


def _on_request(store: Store, owner: Object, name: str) -> Any:
    if name == "confirmation_secret":
        payment = store.get(store.meta.get("intents", {}).get(owner.get("id"), ""), "payment_intent")
        return payment and {"client_secret": payment["client_secret"], "type": "payment_intent"}
    kind = "price" if owner.get("object") == "plan" else owner.get("object")  # they share their tiers
    return store.meta.get("on_request", {}).get(f"{kind} {owner.get('id')}", {}).get(name)


def _included(store: Store, owner: Object, name: str) -> Object:
    url, kinds, attribute = INCLUDABLE[owner["object"], name]
    query = lists.Query(kinds, as_added=attribute is None)
    if attribute:
        query.where[attribute] = owner["id"]
    else:
        query.parent = owner["id"]
    if kinds == ("subscription",):
        query.where["not status"] = ["canceled"]
    found, more = lists.page(store, query, lists.Window(10), kinds[0])
    return {
        "object": "list",
        "data": [_decode(row) for row in found],
        "has_more": more,
        "url": url.replace("{id}", owner["id"]),
    }


# What version 2025-03-31 (basil) took away; integrations that have not moved still ask for it.
GONE = {
    "invoice": {"payment_intent", "charge", "subscription", "quote", "discount"},
    "charge": {"invoice"},
    "payment_intent": {"invoice"},
    "subscription": {"discount"},
}


def not_expandable(text: str, hint: str = "") -> ApiError:
    return ApiError(400, f"This property cannot be expanded ({text}).{hint}", param="expand")
