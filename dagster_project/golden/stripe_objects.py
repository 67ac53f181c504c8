"""The facts of a case as Stripe would show them: prices, coupons, customers, subscriptions, invoices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dagster_project.golden.format import Json, Run

YEAR_0 = "2000-01-01T00:00:00Z"


def unix(moment: str | None) -> int | None:
    """Unix seconds of an ISO instant."""
    if moment is None:
        return None
    return int(datetime.fromisoformat(moment.replace("Z", "+00:00")).astimezone(UTC).timestamp())


@dataclass
class Facts:
    """The objects of one case. Discounts have ids of their own, one for each place where the case names them."""

    run: Run
    _discounts: dict[tuple[str, ...], Json] = field(default_factory=dict)

    @property
    def case(self) -> Json:
        return self.run.facts

    def products(self) -> Iterator[Json]:
        for name in sorted({price["product"] for price in self.case["prices"].values()}):
            yield {"id": name, "object": "product", "name": name, "active": True, "created": unix(YEAR_0)}

    def prices(self) -> Iterator[Json]:
        for id, price in self.case["prices"].items():
            options = {currency: _amounts(each) for currency, each in (price.get("currency_options") or {}).items()}
            yield {
                "id": id, "object": "price", "active": True, "created": unix(YEAR_0), "product": price["product"],
                "currency": price["currency"], "type": price.get("type", "recurring"),
                "billing_scheme": price.get("billing_scheme", "per_unit"), "recurring": _recurring(price),
                "tiers_mode": price.get("tiers_mode"), "transform_quantity": price.get("transform_quantity"),
                "tax_behavior": price.get("tax_behavior", "unspecified"), "currency_options": options or None,
                **_amounts(price),
            }  # fmt: skip

    def coupons(self) -> Iterator[Json]:
        for id, coupon in (self.case.get("coupons") or {}).items():
            products = coupon.get("applies_to_products")
            yield {
                "id": id, "object": "coupon", "created": unix(YEAR_0), "duration": coupon["duration"],
                "percent_off": None if coupon.get("percent_off") is None else float(coupon["percent_off"]),
                "amount_off": coupon.get("amount_off"), "currency": coupon.get("currency"),
                "duration_in_months": coupon.get("duration_in_months"),
                "applies_to": {"products": products} if products else None,
            }  # fmt: skip

    def tax_rates(self) -> Iterator[Json]:
        for id, price in self.case["prices"].items():
            if price.get("effective_tax_rate_percent") is not None:
                percent = float(price["effective_tax_rate_percent"])
                yield {
                    "id": f"txr_{id}", "object": "tax_rate", "active": True, "created": unix(YEAR_0),
                    "percentage": percent, "effective_percentage": percent,
                    "inclusive": price.get("tax_behavior") == "inclusive",
                }  # fmt: skip

    def customers(self) -> Iterator[Json]:
        for customer in self.case["customers"]:
            discount = customer.get("discount")
            yield {
                "id": customer["id"], "object": "customer", "created": unix(YEAR_0), "balance": 0,
                "discount": self._discount(discount, customer["id"]) if discount else None,
            }  # fmt: skip

    def subscriptions(self) -> Iterator[tuple[str, Json, Json]]:
        """(customer, the case's subscription, its facts) of each."""
        for customer in self.case["customers"]:
            for subscription in customer["subscriptions"]:
                yield customer["id"], subscription, subscription

    def state(self, customer: str, subscription: Json, state: Json, *, expanded: bool = True) -> Json:
        """The subscription as Stripe shows it in one state; `expanded` discounts are objects, else ids."""
        id, created = subscription["id"], subscription.get("created") or subscription["start_date"]

        def shown(discount: Json, item: str | None = None) -> Any:
            made = self._discount(discount, customer, id, item)
            return made if expanded else made["id"]

        items = [
            {
                "id": item["id"], "object": "subscription_item", "subscription": id, "created": unix(created),
                "price": next(price for price in self.prices() if price["id"] == item["price"]),
                "quantity": item.get("quantity"),
                "discounts": [shown(one, item["id"]) for one in item.get("discounts", [])],
                "current_period_start": unix(state.get("current_period_start")),
                "current_period_end": unix(state.get("current_period_end")),
            }
            for item in state["items"]
        ]  # fmt: skip
        ended = state.get("ended_at") or (state["at"] if state["status"] == "canceled" else None)
        return {
            "id": id, "object": "subscription", "customer": customer, "currency": subscription["currency"],
            "created": unix(created), "start_date": unix(subscription["start_date"]), "status": state["status"],
            "billing_cycle_anchor": unix(subscription["start_date"]),
            "cancel_at_period_end": bool(state.get("cancel_at_period_end")),
            "canceled_at": unix(state.get("canceled_at")), "ended_at": unix(ended),
            "trial_end": unix(state.get("trial_end")), "pause_collection": state.get("pause_collection"),
            "discounts": [shown(one) for one in state.get("discounts", [])],
            "items": {
                "object": "list", "data": items, "has_more": False, "url": f"/v1/subscription_items?subscription={id}",
            },
        }  # fmt: skip

    def invoices(self) -> Iterator[Json]:
        """The first paid invoice of each subscription, which names every discount that it ever had; usage invoices."""
        for customer, subscription, _ in self.subscriptions():
            paid = subscription.get("first_paid_at", subscription["start_date"])
            named = [
                self._discount(one, customer, subscription["id"], item)
                for state in subscription["timeline"]
                for item, listed in [(None, state.get("discounts", [])),
                                     *((item["id"], item.get("discounts", [])) for item in state["items"])]
                for one in listed
            ]  # fmt: skip
            lines = [
                self._line(subscription["id"], item, 1, paid or state["at"])
                for state in subscription["timeline"][:1]
                for item in state["items"]
                if not self._is_metered(item)  # usage is billed afterwards
            ]
            taxed = any(line["taxes"] for line in lines)
            if paid or named or taxed:
                yield self._invoice(
                    f"in_{subscription['id']}", customer, subscription["id"], paid or subscription["start_date"],
                    lines if taxed else [], 1, named, is_paid=paid is not None,
                )  # fmt: skip
        for number, usage in enumerate(self.case.get("metered_invoices", [])):
            customer, id, item = self._owner(usage["subscription_item"])
            moment = usage["invoice_created"]
            line = self._line(id, item, usage["amount"], moment)
            yield self._invoice(
                f"in_usage_{number}", customer, id, moment, [line], usage["amount"], [], is_paid=True
            )  # fmt: skip

    def _is_metered(self, item: Json) -> bool:
        said = self.case["prices"][item["price"]].get("recurring") or {}
        return bool(said.get("usage_type") == "metered")

    def _owner(self, item_id: str) -> tuple[str, str, Json]:
        return next(
            (customer, subscription["id"], item)
            for customer, subscription, _ in self.subscriptions()
            for state in subscription["timeline"]
            for item in state["items"]
            if item["id"] == item_id
        )

    def _line(self, subscription: str, item: Json, amount: int, moment: str) -> Json:
        price = self.case["prices"][item["price"]]
        inclusive = price.get("tax_behavior") == "inclusive" and price.get("effective_tax_rate_percent") is not None
        tax = {"amount": 0, "tax_behavior": "inclusive", "tax_rate_details": {"tax_rate": f"txr_{item['price']}"}}
        return {
            "id": f"il_{subscription}_{item['id']}_{unix(moment)}", "object": "line_item", "amount": amount,
            "currency": price["currency"], "quantity": item.get("quantity"), "discounts": [], "discount_amounts": [],
            "period": {"start": unix(moment), "end": unix(moment)},
            "pricing": {
                "type": "price_details", "price_details": {"price": item["price"], "product": price["product"]},
            },
            "parent": {"type": "subscription_item_details", "subscription_item_details": {
                "subscription": subscription, "subscription_item": item["id"], "proration": False}},
            "taxes": [tax] if inclusive else [],
        }  # fmt: skip

    def _invoice(
        self, id: str, customer: str, subscription: str, moment: str, lines: list[Json], paid: int,
        discounts: list[Json], *, is_paid: bool,
    ) -> Json:  # fmt: skip
        at = unix(moment)
        return {
            "id": id, "object": "invoice", "customer": customer, "created": at, "currency": "usd",
            "status": "paid" if is_paid else "void", "amount_paid": paid if is_paid else 0,
            "discounts": list({one["id"]: one for one in discounts}.values()),
            "status_transitions": {"paid_at": at if is_paid else None, "finalized_at": at},
            "parent": {"type": "subscription_details", "subscription_details": {"subscription": subscription}},
            "lines": {"object": "list", "data": lines, "has_more": False, "url": f"/v1/invoices/{id}/lines"},
        }  # fmt: skip

    def _discount(self, said: Json, customer: str, subscription: str | None = None, item: str | None = None) -> Json:
        key = (customer, subscription or "", item or "", said["coupon"], str(said.get("start")), str(said.get("end")))
        if key not in self._discounts:
            self._discounts[key] = {
                "id": f"di_{self.run.account_id}_{len(self._discounts)}", "object": "discount", "customer": customer,
                "subscription": subscription, "subscription_item": item, "invoice": None, "invoice_item": None,
                "checkout_session": None, "source": {"type": "coupon", "coupon": said["coupon"]},
                "start": unix(said.get("start")), "end": unix(said.get("end")),
            }  # fmt: skip
        return self._discounts[key]


def _recurring(price: Json) -> Json | None:
    said = price.get("recurring")
    return {"interval_count": 1, "usage_type": "licensed", **said} if said else None


def _amounts(said: Json) -> Json:
    """Amounts as integers where they are whole, and always as decimal text, as Stripe shows both."""

    def both(name: str, of: Json) -> Json:
        text = of.get(f"{name}_decimal")
        if text is None and of.get(name) is not None:
            text = str(of[name])
        return {name: of.get(name), f"{name}_decimal": text}

    tiers = said.get("tiers")
    shown = [
        {"up_to": tier.get("up_to"), **both("unit_amount", tier), **both("flat_amount", tier)} for tier in tiers or []
    ]
    return {**both("unit_amount", said), "tiers": shown or None}
