"""What the warehouse must hold, read from the local Stripe by other means than the product's, and what differs.

Read with all faults off and everything visible. Nothing here uses the product's readers, audit or fingerprints; the
catalogue tells only which lists there are.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from dagster_project.stripe_api.catalog import CATALOGUE, EVENT_RETENTION_DAYS, StripeObject
from dagster_project.warehouse.connection import Warehouse
from whole.local_stripe import Json, LocalStripe, Refused

# Fields that change although nothing happened to the object: an event counts the deliveries that are still open.
VOLATILE: dict[str, set[str]] = {"events": {"pending_webhooks"}}
# What no event tells: it is seen when the list is swept, and after so many seconds all lists have been.
UNTIL_SWEPT = 3600 * (1 + max(max(row.relist_hours or 0, row.sweep_hours) for row in CATALOGUE.values()))
SWEPT: dict[str, set[str]] = {"coupons": {"times_redeemed", "valid"}, "promotion_codes": {"active", "times_redeemed"}}
# Objects whose rows only some parents have in the warehouse, by their rule in the catalogue.
_OF_SOME_PARENTS = {"customer_payment_methods", "billing_meter_event_summaries"}
_SHOWN = 12


def differences(warehouse: Warehouse, stripe: LocalStripe, since: int = 0, *, swept: bool = True) -> list[str]:
    """In words, what the warehouse holds otherwise than Stripe; nothing when it is whole.

    Objects that no list shows need to be known only when an event told of them after `since`, the first reading, and
    was not forgotten before it could be read.
    `swept`: whether all sweeps have run since the last change, so that what no event tells must be right, too.
    """
    held, found = _held(warehouse)
    oldest = max(since, stripe.now - EVENT_RETENTION_DAYS * 86_400)
    told = {
        event["data"]["object"].get("id")
        for event in stripe.events()
        if event["created"] > oldest or (event["created"] > since and event["id"] in held["events"])
    }
    there: dict[str, dict[str, Json]] = {}
    for name, row in CATALOGUE.items():
        if row.strategy in ("window", "chain") and name != "events":
            there[name] = {one["id"]: one for one in _listed(stripe, row)}
            there[name] |= _unlisted(stripe, row, there[name], held[name], told)
        elif row.strategy == "singleton":
            there[name] = {name: stripe.get(str(row.path))}
    for name, row in CATALOGUE.items():
        if row.strategy == "children" and name != "discounts":
            there[name] = dict(_embedded(stripe, row, there))
        elif row.strategy == "per_parent" and name not in _OF_SOME_PARENTS:
            there[name] = dict(_of_parents(stripe, row, there))
    for name, row in CATALOGUE.items():
        if name in there:
            if not swept and name == "payment_methods":  # a card that nobody keeps is announced by nothing
                there[name] = {id: one for id, one in there[name].items() if id in told or id in held[name]}
            found += _compared(row, there[name], held[name], () if swept else SWEPT.get(name, ()))
    found += _partial(held, there)
    found += _events(stripe, held["events"])
    found += _discounts(there, held["discounts"])
    return found


def _held(warehouse: Warehouse) -> tuple[dict[str, dict[str, tuple[Json, bool]]], list[str]]:
    """Payload and whether it is deleted, by object and id; and which objects hold a key twice."""
    held: dict[str, dict[str, tuple[Json, bool]]] = {}
    twice = []
    with warehouse.connect(read_only=True) as con:
        for name in CATALOGUE:
            rows = con.execute(f"select id, _payload::varchar, _deleted_at is not null from stripe.{name}").fetchall()
            held[name] = {id: (json.loads(payload), deleted) for id, payload, deleted in rows}
            if len(rows) > len(held[name]):
                twice.append(f"{name}: {len(rows) - len(held[name])} keys are there twice")
    return held, twice


# ---- Stripe's side -------------------------------------------------------------------------------------------
def _listed(stripe: LocalStripe, row: StripeObject) -> Iterator[Json]:
    if row.name == "accounts":
        yield stripe.get("/v1/account")
    for params in row.lists:
        yield from stripe.listed(str(row.path), {**params, "expand[]": [f"data.{field}" for field in row.expand]})


def _unlisted(
    stripe: LocalStripe, row: StripeObject, listed: dict[str, Json], held: dict[str, tuple[Json, bool]],
    told: set[str],
) -> dict[str, Json]:  # fmt: skip
    """Objects that lists hide (of test clocks, detached, inline prices) and a retrieve shows."""
    found = {}
    living = {id for kind in row.kinds for id, gone in stripe.stored(kind).items() if not gone}
    for id in (held.keys() | (living & told)) - listed.keys():
        try:
            one = stripe.get(f"{row.path}/{id}", {"expand[]": list(row.expand)})
        except Refused as refused:
            if refused.status != 404:
                raise
            continue
        if not one.get("deleted") and not (row.name == "tax_ids" and one.get("customer")):
            found[id] = one
    return found


def _embedded(stripe: LocalStripe, row: StripeObject, there: dict[str, dict[str, Json]]) -> Iterator[tuple[str, Json]]:
    for parent_name, field in (row.embedded_in or {}).items():
        for parent in there[parent_name].values():
            listing = parent.get(field)
            if not isinstance(listing, dict) or "data" not in listing:
                continue
            every = listing["data"]
            if listing["has_more"]:
                # The plain list, to its end, with what the parent's own list expands.
                inside = [f[len(field) + 6 :] for f in CATALOGUE[parent_name].expand if f.startswith(f"{field}.data.")]
                every = list(stripe.listed(listing["url"], {"expand[]": [f"data.{name}" for name in inside]}))
            for one in every:
                yield one["id"], one


def _of_parents(
    stripe: LocalStripe, row: StripeObject, there: dict[str, dict[str, Json]]
) -> Iterator[tuple[str, Json]]:
    """Every parent is asked, not only those that the catalogue's rule names."""
    for parent in there[str(row.parent)]:
        path = str(row.path).replace("{parent}", parent)
        for one in stripe.listed(path, {row.parent_param: parent} if row.parent_param else None):
            yield one["id"], one


# ---- comparing -----------------------------------------------------------------------------------------------
def _compared(
    row: StripeObject, there: dict[str, Json], held: dict[str, tuple[Json, bool]], unswept: Collection[str] = ()
) -> list[str]:
    found = []
    for id, one in there.items():
        if id not in held:
            found.append(f"{row.name} {id} is missing")
            continue
        payload, deleted = held[id]
        if deleted:
            found.append(f"{row.name} {id} has a tombstone and exists at Stripe")
        if fields := _differing(row, payload, one, unswept):
            found.append(f"{row.name} {id} differs in {', '.join(fields)}")
    for id in held.keys() - there.keys():
        if not held[id][1]:
            found.append(f"{row.name} {id} is gone at Stripe and has no tombstone")
    return found[:_SHOWN] + [f"{row.name}: {len(found)} differences in all"] * (len(found) > _SHOWN)


def _differing(row: StripeObject, payload: Json, one: Json, unswept: Collection[str]) -> list[str]:
    volatile = VOLATILE.get(row.name, set()) | set(unswept)
    return [n for n in sorted({*payload, *one} - volatile) if payload.get(n, ...) != one.get(n, ...)]


def _partial(held: dict[str, dict[str, tuple[Json, bool]]], there: dict[str, dict[str, Json]]) -> list[str]:
    """Customers whose default means of payment no list shows must have theirs."""
    shown = held["customer_payment_methods"] | held["payment_methods"]
    missing = []
    for customer in there["customers"].values():
        default = (customer.get("invoice_settings") or {}).get("default_payment_method")
        if default and default not in shown:
            missing.append(f"payment method {default}, the default of {customer['id']}, is nowhere")
    return missing


def _events(stripe: LocalStripe, held: dict[str, tuple[Json, bool]]) -> list[str]:
    every = {event["id"]: event for event in stripe.events()}
    oldest = stripe.now - EVENT_RETENTION_DAYS * 86_400
    there = {id: event for id, event in every.items() if event["created"] > oldest}
    found = [f"event {id} was never at Stripe" for id in held.keys() - every.keys()]
    return found + _compared(CATALOGUE["events"], there, {id: held[id] for id in held.keys() & there.keys()})


def _discounts(there: dict[str, dict[str, Json]], held: dict[str, tuple[Json, bool]]) -> list[str]:
    """Discounts that apply now live; of those that only old invoices name it is enough that they are known."""
    living, named = dict[str, Any](), set()
    for customer in there["customers"].values():
        if customer.get("discount"):
            living[customer["discount"]["id"]] = customer["discount"]
    for name in ("subscriptions", "subscription_items"):
        for parent in there[name].values():
            living |= {one["id"]: one for one in parent.get("discounts") or [] if isinstance(one, dict)}
    for invoice in there["invoices"].values():
        named |= {one["id"] for one in invoice.get("discounts") or [] if isinstance(one, dict)}
    known = {id: row for id, row in held.items() if id in living or (id not in named and not row[1])}
    found = _compared(CATALOGUE["discounts"], living, known)
    return found + [f"discount {id}, which an invoice names, is missing" for id in sorted(named - held.keys())]
