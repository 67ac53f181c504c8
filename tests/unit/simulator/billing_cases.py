"""What the tests of billing share: prices, cards and customers on a test clock, and Stripe's published shapes."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from dagster_project.simulator.engine import cards

DAY, HOUR = 86_400, 3_600
NOW = 1_794_744_000  # 2026-11-15T12:00:00Z, the account's clock in these tests
_DEFAULT = Path(__file__).parents[3] / "../shared/reference/stripe/schemas.json"
_SCHEMAS = Path(os.environ.get("LEDGERLINE_STRIPE_SCHEMAS", _DEFAULT))


@cache
def _definitions() -> dict[str, Any]:
    return dict(json.loads(_SCHEMAS.read_text(encoding="utf-8"))["$defs"]) if _SCHEMAS.is_file() else {}


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": _definitions()})


def misfits(obj: Any) -> list[str]:
    """Where an object does not fit Stripe's published shape; without the schemas nothing is checked."""
    if not _definitions():
        return []
    plain = obj.to_dict(for_json=True) if hasattr(obj, "to_dict") else obj
    name = ("deleted_" if plain.get("deleted") else "") + plain["object"]
    faults = _validator(name).iter_errors(plain)
    found = [f"{'/'.join(map(str, each.absolute_path))}: {each.message[-200:]}" for each in faults]
    return found + [f"unknown key {key}" for key in plain.keys() - _definitions()[name]["properties"].keys()]


class Shop:
    """An account with a product, and customers who live on one test clock."""

    def __init__(self, account: Any, at: int = NOW) -> None:
        self.account = account
        self.api = account.client().v1
        self.product = self.api.products.create({"name": "Plan"}).id
        self.clock = self.api.test_helpers.test_clocks.create({"frozen_time": at}).id
        self.now = at

    def price(self, amount: int, interval: str = "month", count: int = 1, currency: str = "usd") -> str:
        recurring: Any = {"interval": interval, "interval_count": count}
        return self.api.prices.create(
            {"currency": currency, "product": self.product, "unit_amount": amount, "recurring": recurring}
        ).id

    def customer(self, *, card: bool = True, **fields: Any) -> str:
        """A customer on the clock, with a card as the default payment method."""
        made = self.api.customers.create({"email": "ada@example.com", "test_clock": self.clock, **fields})
        if card:
            world = self.account.world
            with world.on(self.clock):
                method = cards.card(world, world.the(made.id, "customer") | {"address": {"country": "US"}})
            self.api.customers.update(made.id, {"invoice_settings": {"default_payment_method": method["id"]}})
        return made.id

    def advance(self, to: int, step: int = 20 * DAY) -> None:
        """Move the clock, in as many calls as Stripe's limit needs."""
        while self.now < to:
            self.now = min(to, self.now + step)
            self.api.test_helpers.test_clocks.advance(self.clock, {"frozen_time": self.now})

    def events(self, *prefixes: str) -> list[Any]:
        """Oldest first, of types that begin with one of the prefixes."""
        found = [each for each in self.api.events.list({"limit": 100}).auto_paging_iter()]
        return [each for each in found[::-1] if each.type.startswith(prefixes)]
