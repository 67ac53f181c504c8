"""Volume alone: a million objects written straight into the store, without a billing engine.

Every body is a template filled in by string formatting, so that a million of them take seconds.
"""

from __future__ import annotations

import heapq
import random
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.accounts import open_account
from dagster_project.simulator.engine.payouts import day_ends
from dagster_project.simulator.engine.tables import INDEXED
from dagster_project.simulator.engine.world import World

_Row = tuple[Any, ...]


def fill(
    world: World, *, seed: int, objects: int, months: int, scenario: str = "flat",
    progress: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Fill an empty world with `objects` objects, created over `months` months that end at `business.CLOCK`."""
    world.meta.update(scenario=scenario, seed=seed, objects=objects, months=months)
    world.events_from = b.CLOCK - b.EVENT_RETENTION
    start = b.CLOCK // b.DAY * b.DAY - int(months * 30.4375) * b.DAY
    world.store.now = start
    open_account(world, id=world.meta.get("account"))
    world.store.flush()
    volume = _Volume(world, start, objects - sum(world.store.counts().values()))
    progress(f"  {volume.customers:,} customers, {volume.charges:,} charges")
    world.store.fill(volume.rows())
    world.store.now = b.CLOCK
    world.later(b.CLOCK // b.DAY * b.DAY + b.DAY + 900, day_ends)
    world.store.flush()


class _Volume:
    """The rows in order of creation, and what they do to the balance."""

    def __init__(self, world: World, start: int, objects: int) -> None:
        numbers: Any = world.business
        of_a_charge = 2 + numbers.intent_share + 2 * numbers.refund_share
        self.charges = int(objects * (1 - numbers.customer_share) / of_a_charge)
        self.intents = int(self.charges * numbers.intent_share)
        self.refunds = int(self.charges * numbers.refund_share)
        self.customers = objects - 2 * self.charges - self.intents - 2 * self.refunds
        self._world, self._numbers, self._start = world, numbers, start
        self._span = b.CLOCK - b.HOUR - start
        self._mask = world.chance("ids").getrandbits(64)
        self._fees = {
            currency: (*Decimal(str(share)).as_integer_ratio(), fixed)
            for currency, (share, fixed) in numbers.fees.items()
        }
        self._least, most = numbers.amounts
        self._spread = most - self._least
        self._dollars = numbers.currencies["usd"]
        for currency in numbers.currencies:
            world.balance[currency] = {"available": 0, "pending": 0}
        self._balance, self._pending = world.balance, world.pending

    def rows(self) -> Iterator[_Row]:
        dice = self._world.chance("flat")
        known = 0
        moments = self._moments(dice)
        for number in range(self.charges):
            # Every charge finds customers from before it, and the last charge has seen all of them.
            wanted = 1 + (self.customers - 1) * (number + 1) // self.charges
            created = next(moments)
            while known < wanted:
                yield self._customer(known, created)
                known += 1
            yield from self._charge(dice, number, created, self._id("cus", int(dice.random() * known)))

    def _moments(self, dice: random.Random) -> Iterator[int]:
        """When each charge is created: evenly over the time, now and then many within one second."""
        number = 0
        while True:
            size = dice.randint(*self._numbers.burst_sizes) if dice.random() < self._numbers.burst else 1
            at = self._start + self._span * number // self.charges
            yield from (at for _ in range(size))
            number += size

    def _id(self, prefix: str, number: int) -> str:
        """Unlike its neighbours' ids, as Stripe's are; multiplying by an odd number never meets itself."""
        return f"{prefix}_{(number * 0x9E3779B97F4A7C15 + self._mask) % 2**64:016x}"

    def _customer(self, number: int, created: int) -> _Row:
        id = self._id("cus", number)
        return _row("customer", id, created, {"id": id, "created": created, "number": number})

    def _charge(self, dice: random.Random, number: int, created: int, customer: str) -> Iterator[_Row]:
        amount = self._least + int(dice.random() * self._spread)
        currency = "usd" if dice.random() < self._dollars else "eur"
        # Spread evenly: the number of those before this one grows by one.
        refunded = (number + 1) * self.refunds // self.charges > number * self.refunds // self.charges
        with_intent = (number + 1) * self.intents // self.charges > number * self.intents // self.charges
        intent = self._id("pi", number) if with_intent else None
        values = {
            "id": self._id("ch", number), "amount": amount, "back": amount if refunded else 0, "created": created,
            "currency": currency, "customer": customer, "refunded": "true" if refunded else "false",
            "transaction": self._id("txn", 2 * number),
            "quoted_intent": f'"{intent}"' if intent else "null", "last4": f"{number % 10_000:04d}",
        }  # fmt: skip
        common = {"customer": customer, "status": "succeeded", "currency": currency}
        charge = str(values["id"])
        yield _row("charge", charge, created, values, **common, payment_intent=intent)
        share, whole, fixed = self._fees[currency]
        fee = (2 * amount * share + whole) // (2 * whole) + fixed
        due = (created + self._numbers.available_after) // b.DAY * b.DAY
        yield self._transaction(2 * number, "charge", charge, amount, fee, currency, created, due)
        if intent:
            yield _row("payment_intent", intent, created, values | {"id": intent, "charge": charge}, **common)
        if refunded:
            at = min(created + dice.randint(1, 20) * b.DAY, b.CLOCK - 60)
            id, transaction = self._id("re", number), self._id("txn", 2 * number + 1)
            values |= {"id": id, "created": at, "charge": charge, "transaction": transaction}
            yield _row("refund", id, at, values, **common, payment_intent=intent, charge=charge)
            yield self._transaction(2 * number + 1, "refund", id, -amount, 0, currency, at, at)

    def _transaction(
        self, number: int, type: str, source: str, amount: int, fee: int, currency: str, created: int, due: int
    ) -> _Row:
        id, net, pending = self._id("txn", number), amount - fee, due > b.CLOCK
        status = "pending" if pending else "available"
        self._balance[currency][status] += net
        if pending:
            heapq.heappush(self._pending, [due, id, net, currency])
        values = {
            "id": id, "amount": amount, "fee": fee, "net": net, "currency": currency, "created": created, "due": due,
            "status": status, "type": type, "source": source,
        }  # fmt: skip
        form = "balance_transaction" if fee else "balance_transaction without fee"
        return _row(form, id, created, values, status=status, source=source, type=type, currency=currency)


def _row(form: str, id: str, created: int, values: dict[str, Any], **indexed: str | None) -> _Row:
    body = (_FORMS[form] % values).encode()
    return (form.partition(" ")[0], id, created, None, body, *map(indexed.get, INDEXED))


def _form(kind: str, **fields: Any) -> str:
    """A body with holes: "<name>" is filled in as it stands, "<#name>" without the quotes around it."""
    text = msgspec.json.encode(shapes.new(kind, "<id>", **fields)).decode().replace("%", "%%")
    return re.sub(r"<(\w+)>", r"%(\1)s", re.sub(r'"<#(\w+)>"', r"%(\1)s", text))


_MONEY: dict[str, Any] = {"amount": "<#amount>", "created": "<#created>", "currency": "<currency>"}
_TRANSACTION = _MONEY | {
    "available_on": "<#due>", "balance_type": "payments", "fee": "<#fee>", "net": "<#net>", "source": "<source>",
    "reporting_category": "<type>", "status": "<status>", "type": "<type>",
}  # fmt: skip
_FEE = {
    "amount": "<#fee>", "application": None, "currency": "<currency>", "description": "Stripe processing fees",
    "type": "stripe_fee",
}  # fmt: skip
_CARD = {
    "amount_authorized": "<#amount>", "authorization_code": None, "brand": "visa", "checks": None, "country": "US",
    "exp_month": 12, "exp_year": 2029, "extended_authorization": {"status": "disabled"}, "funding": "credit",
    "fingerprint": None, "incremental_authorization": {"status": "unavailable"}, "installments": None,
    "last4": "<last4>", "mandate": None, "multicapture": {"status": "unavailable"}, "network": "visa",
    "network_token": {"used": False}, "network_transaction_id": None, "three_d_secure": None, "wallet": None,
    "overcapture": {"maximum_amount_capturable": "<#amount>", "status": "unavailable"},
    "electronic_commerce_indicator": None, "transaction_link_id": None, "regulated_status": "unregulated",
}  # fmt: skip
_FORMS = {
    "customer": _form(
        "customer", created="<#created>", name="Customer <number>", email="customer<number>@example.com", address=None,
        currency=None, delinquent=False, invoice_prefix="F<number>", next_invoice_sequence=1, phone=None,
        preferred_locales=[], tax_exempt="none",
    ),
    "charge": _form(
        "charge", **_MONEY, amount_captured="<#amount>", amount_refunded="<#back>", balance_transaction="<transaction>",
        calculated_statement_descriptor="LEDGERLINE DEMO", captured=True, customer="<customer>", fraud_details={},
        paid=True, payment_intent="<#quoted_intent>", refunded="<#refunded>", status="succeeded",
        payment_method_details={"type": "card", "card": _CARD},
    ),
    "payment_intent": _form(
        "payment_intent", **_MONEY, amount_received="<#amount>", customer="<customer>",
        client_secret="<id>_secret_simulated",  # noqa: S106
        latest_charge="<charge>", payment_method_types=["card"], status="succeeded",
    ),
    "refund": _form(
        "refund", **_MONEY, balance_transaction="<transaction>", charge="<charge>", customer="<customer>", metadata={},
        payment_intent="<#quoted_intent>", reason="requested_by_customer", status="succeeded",
    ),
    "balance_transaction": _form("balance_transaction", **_TRANSACTION, fee_details=[_FEE]),
    "balance_transaction without fee": _form("balance_transaction", **_TRANSACTION),
}  # fmt: skip
