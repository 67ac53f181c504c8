"""What the events of an account say, held against its objects: every change told, exactly, and no other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.versions import PINNED, restored
from dagster_project.simulator.engine.webhooks import EVENT_TYPES
from dagster_project.simulator.engine.world import World

Object = dict[str, Any]
# Changes without an event, as on Stripe's side. "*": every field.
QUIET: dict[str, set[str]] = {
    "charge": {"disputed", "review"},
    "coupon": {"times_redeemed", "valid"},
    "promotion_code": {"times_redeemed"},
    "invoiceitem": {"*"},
    "payment_intent": {"amount", "description", "metadata", "payment_method", "receipt_email", "setup_future_usage"},
    "setup_intent": {"description", "metadata", "payment_method"},
    "quote": {
        "amount_subtotal",
        "amount_total",
        "computed",
        "description",
        "discounts",
        "expires_at",
        "footer",
        "header",
        "metadata",
        "total_details",
    },
    "checkout.session": {"*"},
    "invoice_payment": {"*"},
    "billing.credit_balance_transaction": {"*"},
    "account": {"external_accounts"},
}
# The tests after which nothing may be left untold.
CHECKED = (
    "connect", "customers", "disputes", "events", "invoice_previews", "invoices", "invoices_amounts",
    "invoices_collection", "invoices_credit", "meters", "payments", "payments_by_bank", "payments_together",
    "payments_told", "payouts", "pricing", "quotes", "refunds", "schedules", "search", "server_changes",
    "setup_intents", "subscriptions", "subscriptions_by_luck", "subscriptions_metered", "subscriptions_unpaid",
    "test_clocks", "webhooks",
)  # fmt: skip
# Kinds of which the first sight may be another event than `created`, or none at all.
QUIETLY_MADE = {"checkout.session", "invoice_payment", "payment_method", "account", "refund"}
_TOLD_TWICE = {"charge.refund.updated", "invoice.payment_succeeded"}
# Also after `charge.pending` or `payment_method.detached`, and still without previous attributes.
_FIRST_TOLD = {"charge.succeeded", "charge.failed", "payment_method.attached"}
_ANNOUNCED = {kind for kinds in EVENT_TYPES.values() for kind in kinds}


def untold(world: World, since: int = 0, *, made: bool = True) -> set[str]:
    """What is wrong with the events of one account, in words; nothing when all is told as it must be.

    `since` is the place in the store from which on events count; with `made` new objects must be told, too.
    """
    found: set[str] = set()
    latest: dict[tuple[str, str], Object] = {}
    ended: set[tuple[str, str]] = set()
    new = world.store.since(since)
    for event in (world.the(id, "event") for kind, id in new if kind == "event"):
        if event["api_version"] != PINNED:
            return set()
        type, now = event["type"], shapes.frozen(event["data"]["object"])
        key = (now["object"], now.get("id", ""))
        if now["object"] not in EVENT_TYPES[type]:
            found.add(f"{type} carries a {now['object']}")
        if "deleted" in now:
            found.add(f"{type} carries a tombstone")
        previous, before = event["data"].get("previous_attributes"), latest.get(key)
        if previous is not None and type.endswith((".created", ".deleted")):
            found.add(f"{type} has previous attributes")
        if before is not None:
            found |= _differences(type, before, now, previous)
        latest[key] = now
        if type.endswith(".deleted"):
            ended.add(key)
    for key in latest.keys() - ended:
        obj = world.store.get(key[1], key[0])
        changed = _loud(key[0], _changed(latest[key], obj)) if obj and not obj.get("deleted") else None
        if changed:
            found.add(f"{key[0]}: nobody was told of {', '.join(sorted(changed))}")
    for kind, id in new if made else ():
        if kind in _ANNOUNCED - QUIETLY_MADE and (kind, id) not in latest and "*" not in QUIET.get(kind, ()):
            found.add(f"{kind}: made silently")
    return found


def _differences(type: str, before: Object, now: Object, previous: Object | None) -> set[str]:
    changed = _loud(now["object"], _changed(before, now))
    if previous is None:
        if changed and not type.endswith((".deleted", ".created")) and type not in _FIRST_TOLD:
            return {f"{type}: has changed without previous attributes: {', '.join(sorted(changed))}"}
        return set()
    if type in _TOLD_TWICE:
        return set()
    found = set()
    if changed != _loud(now["object"], previous):
        found.add(f"{type}: changed {sorted(changed)}, told {sorted(previous)}")
    was = {name: before.get(name) for name in previous}
    then = restored({name: now.get(name) for name in previous}, previous)
    if now["object"] in ("payment_intent", "setup_intent") and then.get("status") == "requires_confirmation":
        was["status"] = "requires_confirmation"  # with a payment method at hand it becomes that without an event
    wrong = _loud(now["object"], (name for name in previous if _stated(then[name]) != _stated(was[name])))
    if wrong:
        found.add(f"{type}: says otherwise what {', '.join(sorted(wrong))} was")
    return found


def _changed(before: Object, now: Object) -> set[str]:
    return {name for name in now.keys() | before.keys() if now.get(name) != before.get(name)}


def _loud(kind: str, names: Iterable[str]) -> set[str]:
    """Of these fields those whose change Stripe tells."""
    quiet = QUIET.get(kind, set())
    return set() if "*" in quiet else set(names) - quiet


def _stated(value: Any) -> Any:
    """Without nulls, which in previous attributes also say that there was no such key."""
    if isinstance(value, list):
        return [_stated(each) for each in value]
    if isinstance(value, dict):
        return {name: _stated(each) for name, each in value.items() if each is not None}
    return value
