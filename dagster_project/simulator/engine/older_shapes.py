"""What each release changed, backwards: a change turns an object from the shape of a release into the one before it.

Only what concerns billing and finance. Sources, by release:
basil    https://docs.stripe.com/changelog/basil (periods of items, invoice parent, line pricing and taxes, payments)
clover   https://docs.stripe.com/changelog/clover (discount source, promotion of promotion codes, billing mode)
others   https://docs.stripe.com/changelog (2022-11-15: charges of payment intents, refunds of charges)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from dagster_project.simulator.engine import shapes

if TYPE_CHECKING:
    from dagster_project.simulator.engine.versions import Renderer

Object = dict[str, Any]
Change = Callable[["Renderer", Object], None]


def _without(*names: str) -> Change:
    def change(show: Renderer, obj: Object) -> None:
        for name in names:
            obj.pop(name, None)

    return change


def _with(**values: Any) -> Change:
    def change(show: Renderer, obj: Object) -> None:
        for name, value in values.items():
            obj.setdefault(name, value)

    return change


# ---- before clover --------------------------------------------------------------------------------------------
def _discount_has_its_coupon(show: Renderer, discount: Object) -> None:
    coupon = (discount.pop("source", None) or {}).get("coupon")
    discount["coupon"] = show.show(coupon, "coupon") if isinstance(coupon, str) else coupon


def _promotion_code_has_its_coupon(show: Renderer, code: Object) -> None:
    coupon = (code.pop("promotion", None) or {}).get("coupon")
    code["coupon"] = show.show(coupon, "coupon") if isinstance(coupon, str) else coupon


# ---- before basil ---------------------------------------------------------------------------------------------
def _subscription_has_the_period(show: Renderer, sub: Object) -> None:
    items = sub["items"]["data"]
    first = min(items, key=lambda item: item.get("current_period_end") or 0) if items else {}
    for edge in ("current_period_start", "current_period_end"):
        sub[edge] = first.get(edge)


def _one_discount(show: Renderer, obj: Object) -> None:
    """Where there are several, they are in `discounts` only."""
    discounts = obj.get("discounts") or []
    obj["discount"] = _shown(show, discounts[0], "discount") if len(discounts) == 1 else None


def _invoice_belongs_to_subscription(show: Renderer, invoice: Object) -> None:
    """With flexible billing an old version says no subscription: https://github.com/airbytehq/airbyte/issues/85818."""
    parent = invoice.pop("parent", None) or {}
    details = parent.get("subscription_details") or {}
    id = details.get("subscription")
    id = id["id"] if isinstance(id, dict) else id
    subscription = show.world.store.known(id, "subscription") if id else None
    flexible = subscription is not None and (subscription.get("billing_mode") or {}).get("type") == "flexible"
    invoice["subscription"] = None if flexible else id
    invoice["subscription_details"] = {"metadata": details.get("metadata")}
    if "subscription_proration_date" in details:
        invoice["subscription_proration_date"] = details["subscription_proration_date"]
    invoice["quote"] = (parent.get("quote_details") or {}).get("quote")


def _invoice_is_paid_by_one_charge(show: Renderer, invoice: Object) -> None:
    """The charge is that of the newest attempt, as many as the invoice says there were."""
    invoice["paid"] = invoice["status"] == "paid"
    off_stripe = show.world.meta.get("on_request", {}).get(f"invoice {invoice['id']}", {})
    invoice["paid_out_of_band"] = invoice["paid"] and bool(off_stripe.get("amount_paid_off_stripe"))
    invoice["charge"] = invoice["payment_intent"] = None
    attempts = invoice["attempt_count"]
    for payment in _page(show, "invoice_payment", invoice=invoice["id"]) if attempts else ():
        paid_by = payment["payment"]
        if paid_by.get("payment_intent"):
            invoice["payment_intent"] = paid_by["payment_intent"]
            tries = _page(show, "charge", customer=invoice["customer"], payment_intent=paid_by["payment_intent"])
            invoice["charge"] = tries[-min(attempts, len(tries))]["id"] if tries else None
            return
        invoice["charge"] = paid_by.get("charge")


def _invoice_tax(show: Renderer, invoice: Object) -> None:
    taxes = invoice.pop("total_taxes", None)
    invoice["tax"] = sum(part["amount"] for part in taxes) if taxes else None
    invoice["total_tax_amounts"] = _tax_amounts(taxes)


def _tax_amounts(taxes: list[Object] | None) -> list[Object]:
    return [
        {
            "amount": part["amount"],
            "inclusive": part["tax_behavior"] == "inclusive",
            "tax_rate": (part.get("tax_rate_details") or {}).get("tax_rate"),
            "taxability_reason": part["taxability_reason"],
            "taxable_amount": part["taxable_amount"],
        }
        for part in taxes or []
    ]


def _price_and_plan(show: Renderer, obj: Object) -> None:
    priced = (obj.pop("pricing", None) or {}).get("price_details") or {}
    price = priced.get("price")
    price = price["id"] if isinstance(price, dict) else price
    obj["price"] = show.show(price, "price")
    obj["plan"] = show.show(price, "plan")


def _line_says_its_origin(show: Renderer, line: Object) -> None:
    parent = line.pop("parent", None) or {}
    details = parent.get("invoice_item_details") or parent.get("subscription_item_details") or {}
    line["type"] = "invoiceitem" if details.get("invoice_item") else "subscription"
    line["proration"] = bool(details.get("proration"))
    line["proration_details"] = details.get("proration_details") or {"credited_items": None}
    for name in ("invoice_item", "subscription_item"):
        if details.get(name):
            line[name] = details[name]


def _line_taxes(show: Renderer, line: Object) -> None:
    taxes = line.pop("taxes", None)
    line["tax_amounts"] = _tax_amounts(taxes)
    rates = (part["tax_rate"] for part in line["tax_amounts"])
    if line["object"] == "line_item":
        line["tax_rates"] = [rate for rate in (show.show(id, "tax_rate") for id in rates) if rate]
    inclusive = sum(part["amount"] for part in line["tax_amounts"] if part["inclusive"])
    line["amount_excluding_tax"] = line["amount"] - inclusive
    quantity = line.get("quantity")
    line["unit_amount_excluding_tax"] = (
        f"{(Decimal(line['amount_excluding_tax']) / quantity).quantize(Decimal('1e-12')).normalize():f}"
        if quantity
        else None
    )


def _invoice_item_of_subscription(show: Renderer, item: Object) -> None:
    details = (item.pop("parent", None) or {}).get("subscription_details") or {}
    item["subscription"] = details.get("subscription")
    if details.get("subscription_item"):
        item["subscription_item"] = details["subscription_item"]
    exact = (item.get("pricing") or {}).get("unit_amount_decimal")
    item["unit_amount_decimal"] = exact
    item["unit_amount"] = int(exact) if exact is not None and exact.lstrip("-").isdigit() else None


def _credit_note_has_one_refund(show: Renderer, note: Object) -> None:
    refunds = note.pop("refunds", None) or []
    note["refund"] = refunds[0]["refund"] if refunds else None
    note["tax_amounts"] = _tax_amounts(note.pop("total_taxes", None))


def _phase_has_one_coupon(show: Renderer, schedule: Object) -> None:
    for phase in schedule.get("phases") or []:
        coupons = [each.get("coupon") for each in phase.get("discounts") or []]
        phase["coupon"] = next(filter(None, coupons), None)


def _invoice_of_payment(show: Renderer, obj: Object) -> None:
    """Of a charge or a payment intent."""
    from dagster_project.simulator.engine.credit import payment_id

    intent = obj["id"] if obj["object"] == "payment_intent" else obj.get("payment_intent")
    intent = intent["id"] if isinstance(intent, dict) else intent
    payment = show.world.store.get(payment_id(intent), "invoice_payment") if intent else None
    obj["invoice"] = payment["invoice"] if payment else None


def _charge_names_its_dispute(show: Renderer, charge: Object) -> None:
    rows = _page(show, "dispute", charge=charge["id"]) if charge["disputed"] else []
    charge["dispute"] = rows[0]["id"] if rows else None
    charge["destination"] = (charge.get("transfer_data") or {}).get("destination")
    charge["order"] = None


def _recurring_aggregates(show: Renderer, price: Object) -> None:
    if price.get("recurring"):
        price["recurring"].setdefault("aggregate_usage", None)


# ---- before 2022-11-15 ----------------------------------------------------------------------------------------
def _refunds_of_charge(show: Renderer, charge: Object) -> None:
    if "refunds" not in charge:
        rows = _page(show, "refund", charge=charge["id"])
        charge["refunds"] = _listed(f"/v1/charges/{charge['id']}/refunds", [show.render(row) for row in rows])


def _charges_of_intent(show: Renderer, intent: Object) -> None:
    if intent.get("customer"):
        rows = _page(show, "charge", customer=intent["customer"], payment_intent=intent["id"])
    else:
        latest = show.world.store.known(intent["latest_charge"], "charge") if intent.get("latest_charge") else None
        rows = [latest] if latest else []
    url = f"/v1/charges?payment_intent={intent['id']}"
    intent["charges"] = _listed(url, [show.render(row) for row in rows])


def _listed(url: str, rows: list[Object]) -> Object:
    return shapes.embedded(url, rows) | {"total_count": len(rows)}


def _page(show: Renderer, kind: str, **where: str) -> list[Object]:
    """Pinned objects, newest first."""
    return [msgspec.json.decode(body) for body in show.world.store.page(kind, where=where, limit=100)[0]]


def _shown(show: Renderer, named: Any, kind: str) -> Object | None:
    return show.show(named, kind) if isinstance(named, str) else show.render(named) if named else None


# Newest first. A change of "*" is for every kind.
RELEASES: Sequence[tuple[str, Mapping[str, Sequence[Change]]]] = (
    ("2026-09-30", {
        "payment_intent": [_without("allowed_payment_method_types")],
        "setup_intent": [_without("allowed_payment_method_types")],
        "subscription": [_without("status_details")],
        "subscription_item": [_without("current_trial")],
        "subscription_schedule": [_without("pause_schedules")],
    }),
    ("2026-03-25", {
        "subscription": [_without("billing_schedules", "managed_payments")],
        "payment_intent": [_without("managed_payments")],
        "line_item": [_without("quantity_decimal")],
        "invoiceitem": [_without("quantity_decimal")],
        "invoice": [_without("amount_paid_off_stripe")],
    }),
    ("2025-09-30", {
        "discount": [_discount_has_its_coupon],
        "promotion_code": [_promotion_code_has_its_coupon],
        "line_item": [_without("subtotal")],
        "payment_intent": [_without("payment_record", "excluded_payment_method_types")],
        "*": [_without("customer_account")],
    }),
    ("2025-03-31", {
        "subscription": [_subscription_has_the_period, _one_discount, _without("billing_mode")],
        "subscription_item": [_without("current_period_start", "current_period_end")],
        "subscription_schedule": [_phase_has_one_coupon, _without("billing_mode")],
        "invoice": [
            _invoice_belongs_to_subscription, _invoice_is_paid_by_one_charge, _invoice_tax, _one_discount,
            _with(application_fee_amount=None, transfer_data=None),
            _without("amount_overpaid", "payments", "confirmation_secret"),
        ],
        "line_item": [_line_says_its_origin, _price_and_plan, _line_taxes],
        "invoiceitem": [_invoice_item_of_subscription, _price_and_plan, _without("net_amount")],
        "credit_note": [_credit_note_has_one_refund, _without("post_payment_amount", "pre_payment_amount")],
        "credit_note_line_item": [_line_taxes],
        "charge": [_invoice_of_payment, _charge_names_its_dispute],
        "payment_intent": [_invoice_of_payment],
        "plan": [_with(aggregate_usage=None)],
        "price": [_recurring_aggregates],
    }),
    ("2024-09-30", {
        "invoice": [_without("total_pretax_credit_amounts")],
        "line_item": [_without("pretax_credit_amounts")],
        "credit_note": [_without("pretax_credit_amounts")],
        "credit_note_line_item": [_without("pretax_credit_amounts")],
    }),
    ("2022-11-15", {
        "charge": [_refunds_of_charge],
        "payment_intent": [_charges_of_intent],
    }),
)  # fmt: skip
