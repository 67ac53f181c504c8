"""The filters of a list, as endpoints.yaml declares them, and what a list hides unless it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.tables import INDEXED
from dagster_project.simulator.http import forms
from dagster_project.simulator.http.api_errors import (
    invalid_parameter,
    missing,
    not_one_of,
    required_parameter,
    unknown_parameter,
)
from dagster_project.simulator.http.endpoints import Listing
from dagster_project.simulator.http.forms import Params
from dagster_project.simulator.http.lists import PAGING, Object, Predicate, Query
from dagster_project.simulator.http.special_filters import OPERATORS, SPECIAL

# Whoever names one of these asks for the objects of one customer, also of one that lives on a test clock.
_NAMES_A_CUSTOMER = ("customer", "customer_account", "subscription", "invoice", "payment_intent", "test_clock")


def query(store: Store, listing: Listing, params: Params, parent: str | None, failed_events: set[str]) -> Query:
    """What a request asks for. Raises ApiError 400 for unknown or malformed filters, 404 for an unknown parent."""
    for name in params:
        if name not in PAGING and name not in listing.filters:
            raise unknown_parameter(name)
    for name in listing.required:
        if not params.get(name):
            raise required_parameter(name)
    asked = Query(listing.kinds, as_added=listing.as_added)
    if parent is not None and listing.parent is not None:
        _of_parent(store, asked, listing.parent, parent)
    _defaults(store, asked, listing, params)
    for name, kind in listing.filters.items():
        if name in params:
            if (special := SPECIAL.get((listing.name, name))) is not None:
                special(store, asked, params, failed_events)
            else:
                _filter(asked, name, kind, params[name], listing.fields.get(name, name))
    return asked


def _of_parent(store: Store, asked: Query, kind: str, id: str) -> None:
    found = store.get(id, kind)
    if found is None or found.get("deleted"):
        raise missing(kind, id)
    if kind in ("customer", "charge"):
        asked.where[kind] = id
    else:
        asked.parent = id


def _defaults(store: Store, asked: Query, listing: Listing, params: Params) -> None:
    if listing.kind == "subscription" and "status" not in params:
        asked.where["not status"] = ["canceled"]
    if listing.name == "prices":
        # "your active prices, excluding inline prices": https://docs.stripe.com/api/prices/list
        asked.where["not source"] = ["inline"]
        if "active" not in params:
            asked.where["active"] = "true"
    if listing.name == "accounts":
        own = store.meta.get("account")
        asked.predicates.append(lambda obj: obj["id"] != own)
    if listing.name == "reviews":
        asked.where["open"] = "true"
    if listing.name == "tax_ids" and "owner" not in params:
        asked.predicates.append(lambda obj: (obj.get("owner") or {}).get("type") in ("self", "account"))
    named = any(name in params for name in _NAMES_A_CUSTOMER) or asked.where.get("customer")
    if not named and "clocks" in store.meta:  # what lived on one stays hidden when its clock is gone
        _without_test_clocks(store, asked, listing)


def _without_test_clocks(store: Store, asked: Query, listing: Listing) -> None:
    """Source: https://docs.stripe.com/search#test-clock-objects-omitted-in-list-all-results"""
    if listing.kind in ("customer", "subscription", "quote"):
        asked.predicates.append(lambda obj: obj.get("test_clock") is None)
    elif "customer" in listing.filters:
        asked.where["not customer"] = store.born_with("customer", "test_clock")


def _filter(asked: Query, name: str, kind: Any, value: Any, field: str) -> None:
    if kind == "range":
        bounds = _bounds(name, value)
        if name == "created":
            asked.created = bounds
        else:
            asked.predicates.append(_within(field, bounds))
    elif isinstance(kind, Mapping):
        _parts(asked, name, kind, value, field)
    else:
        wanted = _wanted(name, kind, value)
        if name in INDEXED and name == field:
            asked.where[name] = wanted if kind == "texts" else wanted[0]
        else:
            asked.predicates.append(equals(field, wanted))


def _parts(asked: Query, name: str, kinds: Mapping[str, Any], value: Any, field: str) -> None:
    if not isinstance(value, dict):
        raise invalid_parameter(name, f"Invalid object: {name}")
    known = {part.removesuffix("!"): kind for part, kind in kinds.items()}
    for part in value:
        if part not in known:
            raise unknown_parameter(f"{name}[{part}]")
    for part in kinds:
        if part.endswith("!") and part[:-1] not in value:
            raise required_parameter(f"{name}[{part[:-1]}]")
    for part, each in value.items():
        _filter(asked, f"{name}[{part}]", known[part], each, f"{field}.{part}")


def _wanted(name: str, kind: Any, value: Any) -> list[str]:
    """The values that an object may have, as text."""
    if kind == "texts":
        return forms.texts({name: value}, name)
    text = forms.text({name: value}, name) or ""
    if kind == "boolean":
        forms.boolean(text, name)
    elif kind == "integer":
        forms.integer(text, name)
    elif kind != "text" and text not in kind:
        raise not_one_of(name, kind)
    return [text]


def _bounds(name: str, value: Any) -> dict[str, int]:
    if isinstance(value, str):
        return {"eq": forms.integer(value, name)}
    if not isinstance(value, dict) or not value:
        raise invalid_parameter(name, f"Invalid object: {name}")
    for operator in value:
        if operator not in ("gt", "gte", "lt", "lte"):
            raise unknown_parameter(f"{name}[{operator}]")
    return {operator: forms.integer(bound, f"{name}[{operator}]") for operator, bound in value.items()}


def _within(field: str, bounds: Mapping[str, int]) -> Predicate:
    def within(obj: Object) -> bool:
        values = [value for value in _values(obj, field) if isinstance(value, int)]
        return any(all(OPERATORS[operator](each, bound) for operator, bound in bounds.items()) for each in values)

    return within


def equals(field: str, wanted: Sequence[str]) -> Predicate:
    return lambda obj: any(_plain_text(value) in wanted for value in _values(obj, field))


def _values(obj: Object, field: str) -> list[Any]:
    """The values of a field as endpoints.yaml names it."""
    extreme, _, path = field.rpartition(" ")
    values = at(obj, path.split("."))
    if not extreme:
        return values
    known = [value for value in values if value is not None]
    return [min(known) if extreme == "min" else max(known)] if known else []


def at(value: Any, parts: Sequence[str]) -> list[Any]:
    """The values at a dotted path; every element of the lists on the way, ids for objects."""
    if isinstance(value, list):
        return [found for each in value for found in at(each, parts)]
    if not parts:
        return [value.get("id")] if isinstance(value, dict) else [value]
    return at(value.get(parts[0]), parts[1:]) if isinstance(value, dict) else []


def _plain_text(value: Any) -> str | None:
    return ("true" if value else "false") if isinstance(value, bool) else None if value is None else str(value)
