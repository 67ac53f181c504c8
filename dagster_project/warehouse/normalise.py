"""Payloads of events in an older API version, brought to the pinned shape.

An event comes in the version that the account had, so old and new shapes arrive side by side. The shape decides, never
the version string. Only what the columns of the history need is moved; the event itself stays as it came in
`stripe.events`. Source of the moves: Stripe's changelog, 2025-03-31.basil and 2025-09-30.clover.
"""

from __future__ import annotations

from collections.abc import Callable

from dagster_project.stripe_api.catalog import StripeObject
from dagster_project.warehouse.typed import elements


def pinned(row: StripeObject, payload: str) -> str:
    """SQL that gives the JSON `payload` of a version of `row` in the pinned shape."""
    move = _MOVES.get(row.name)
    return move(payload) if move else payload


def _subscription(payload: str) -> str:
    """The period moved to the items, the one discount became a list."""
    start, end = (f"json_extract({payload}, '$.current_period_{edge}')" for edge in ("start", "end"))
    item = (
        "case when json_exists(x, '$.current_period_start') then x else "
        f"json_merge_patch(x, json_object('current_period_start', {start}, 'current_period_end', {end})) end"
    )
    items = elements(f"json_extract({payload}, '$.items')")
    patch = (
        "json_object('current_period_start', null, 'current_period_end', null, "
        f"'items', json_object('data', list_transform({items}, lambda x: {item})))"
    )
    old = f"json_type({payload}, '$.current_period_start') = 'UBIGINT'"
    return _discounts(_patched(old, payload, patch))


def _invoice(payload: str) -> str:
    """The subscription moved below `parent`; what `status` and `payments` say now is not kept twice."""
    details = f"json_object('subscription', json_extract({payload}, '$.subscription'))"
    patch = (
        f"json_object('parent', json_object('type', 'subscription_details', 'subscription_details', {details}), "
        "'subscription', null, 'subscription_details', null, 'charge', null, 'payment_intent', null, 'paid', null)"
    )
    old = f"json_type({payload}, '$.subscription') in ('VARCHAR', 'OBJECT') and not json_exists({payload}, '$.parent')"
    return _discounts(_patched(old, payload, patch))


def _promotion_code(payload: str) -> str:
    coupon = f"json_extract({payload}, '$.coupon')"
    patch = f"json_object('promotion', json_object('type', 'coupon', 'coupon', {coupon}), 'coupon', null)"
    return _patched(f"json_exists({payload}, '$.coupon') and not json_exists({payload}, '$.promotion')", payload, patch)


def _discounts(payload: str) -> str:
    patch = f"json_object('discount', null, 'discounts', [json_extract({payload}, '$.discount')])"
    old = f"json_type({payload}, '$.discount') = 'OBJECT' and not json_exists({payload}, '$.discounts')"
    return _patched(old, payload, patch)


def _patched(old: str, payload: str, patch: str) -> str:
    return f"case when {old} then json_merge_patch({payload}, {patch}) else {payload} end"


_MOVES: dict[str, Callable[[str], str]] = {
    "subscriptions": _subscription,
    "invoices": _invoice,
    "promotion_codes": _promotion_code,
}
