"""Payloads of events in an older API version, brought to the pinned shape.

An event comes in the version that the account had, so old and new shapes arrive side by side. The shape decides, never
the version string. Only what the columns of the history need is moved; the event itself stays as it came in
`stripe.events`. Source of the moves: Stripe's changelog, 2025-03-31.basil and 2025-09-30.clover.
"""

from __future__ import annotations

from dagster_project.warehouse.typed import elements

# Long text is parsed for all of these at once: where an old shape shows itself.
_SIGNS = (
    "current_period_start", "subscription", "parent", "coupon", "promotion", "discount", "discounts",
    "total_tax_amounts",
)  # fmt: skip


def pinned(relation: str) -> str:
    """SQL that gives the rows of `relation` with the objects in its column `json` in the pinned shape, and their
    `kind`."""
    paths = ", ".join(f"'$.{name}'" for name in _SIGNS)
    moved = f"select *, json ->> '$.object' as kind, json_type(json, [{paths}]) as signs from ({relation})"
    moves = " ".join(
        f"when kind = '{kind}' and {old} then json_merge_patch(json, {patch})"
        for kind, old, patch in (_subscription(), _invoice(), _promotion_code())
    )
    discount = "json_object('discount', null, 'discounts', [json_extract(json, '$.discount')])"
    old = f"{_sign('discount')} = 'OBJECT' and {_sign('discounts')} is null"
    taxed = f"kind in ('invoice', 'credit_note') and {_sign('total_tax_amounts')} is not null"
    patches = (f"kind in ('subscription', 'invoice') and {old}", discount), (taxed, _taxes())
    moved = f"select * replace (case {moves} else json end as json) from ({moved})"
    for where, patch in patches:
        moved = (
            f"select * replace (case when {where} then json_merge_patch(json, {patch}) else json end as json) "
            f"from ({moved})"
        )
    return f"select * exclude (signs) from ({moved})"


def _sign(name: str) -> str:
    """The JSON type of a field; null when it is absent."""
    return f"signs[{_SIGNS.index(name) + 1}]"


def _subscription() -> tuple[str, str, str]:
    """The period moved to the items."""
    start, end = (f"json_extract(json, '$.current_period_{edge}')" for edge in ("start", "end"))
    item = (
        "case when json_exists(x, '$.current_period_start') then x else "
        f"json_merge_patch(x, json_object('current_period_start', {start}, 'current_period_end', {end})) end"
    )
    listed = elements("json_extract(json, '$.items')")
    items = f"list_transform({listed}, lambda x: {item})"
    patch = (
        f"json_object('current_period_start', null, 'current_period_end', null, 'items', json_object('data', {items}))"
    )
    return "subscription", f"{_sign('current_period_start')} = 'UBIGINT'", patch


def _invoice() -> tuple[str, str, str]:
    """The subscription moved below `parent`; what `status` and `payments` say now is not kept twice."""
    subscription = "json_object('subscription', json_extract(json, '$.subscription'))"
    details = f"json_merge_patch(coalesce(json_extract(json, '$.subscription_details'), '{{}}'), {subscription})"
    patch = (
        f"json_object('parent', json_object('type', 'subscription_details', 'subscription_details', {details}), "
        "'subscription', null, 'subscription_details', null, 'charge', null, 'payment_intent', null, 'paid', null)"
    )
    old = f"{_sign('subscription')} in ('VARCHAR', 'OBJECT') and {_sign('parent')} is null"
    return "invoice", old, patch


def _taxes() -> str:
    """A patch: what was `inclusive` is the behaviour, and the rate is one of the details."""
    part = {name: f"json_extract(x, '$.{name}')" for name in ("amount", "taxability_reason", "taxable_amount")}
    part["tax_behavior"] = "case x ->> '$.inclusive' when 'true' then 'inclusive' else 'exclusive' end"
    part["tax_rate_details"] = "json_object('tax_rate', json_extract(x, '$.tax_rate'))"
    part["type"] = "'tax_rate_details'"
    fields = ", ".join(f"'{name}', {value}" for name, value in part.items())
    listed = elements("json_extract(json, '$.total_tax_amounts')")
    parts = f"list_transform({listed}, lambda x: json_object({fields}))"
    return f"json_object('total_taxes', {parts}, 'total_tax_amounts', null, 'tax', null)"


def _promotion_code() -> tuple[str, str, str]:
    """The coupon moved below `promotion`, where it is an id."""
    coupon = "coalesce(json_extract(json, '$.coupon.id'), json_extract(json, '$.coupon'))"
    patch = f"json_object('promotion', json_object('type', 'coupon', 'coupon', {coupon}), 'coupon', null)"
    return "promotion_code", f"{_sign('coupon')} is not null and {_sign('promotion')} is null", patch
