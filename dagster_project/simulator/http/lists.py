"""Pages of lists: Stripe's paging rules, filters and defaults, over the stored bodies.

Filters that the store indexes narrow its query; any other filter reads on until the page is full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from dagster_project.simulator.engine.store import INDEXED, Store
from dagster_project.simulator.http import forms
from dagster_project.simulator.http.api_errors import (
    ApiError,
    invalid_parameter,
    missing,
    required_parameter,
    unknown_parameter,
)
from dagster_project.simulator.http.endpoints import Listing
from dagster_project.simulator.http.forms import Params

Object = dict[str, Any]
Predicate = Callable[[Object], bool]
Special = Callable[[Store, "Query", Params, set[str]], None]
_PAGING = ("limit", "starting_after", "ending_before", "expand")
_OPERATORS: dict[str, Callable[[Any, int], bool]] = {
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
    "eq": lambda value, bound: value == bound,
}
_ON_TEST_CLOCKS = ("customer", "subscription", "quote")
_SUBSCRIPTION_STATUSES = (
    "active", "all", "canceled", "ended", "incomplete", "incomplete_expired", "past_due", "paused", "trialing",
    "unpaid",
)  # fmt: skip
_decode = msgspec.json.Decoder().decode


@dataclass
class Query:
    """Which objects a list shows, independent of the page asked for."""

    kinds: tuple[str, ...]
    where: dict[str, str | Sequence[str]] = field(default_factory=dict)
    created: dict[str, int] = field(default_factory=dict)
    parent: str | None = None
    predicates: list[Predicate] = field(default_factory=list)
    as_added: bool = False
    hidden: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Window:
    """Which page: at most `limit` objects after or before a cursor."""

    limit: int = 10
    starting_after: str | None = None
    ending_before: str | None = None


def window(params: Params) -> Window:
    """Raises ApiError 400 for a limit outside 1 to 100 or for two cursors at once."""
    limit = forms.integer(params["limit"], "limit") if "limit" in params else 10
    if limit > 100:
        raise invalid_parameter("limit", "This value must be less than or equal to 100.", "parameter_invalid_integer")
    if limit < 1:
        raise invalid_parameter("limit", "This value must be greater than or equal to 1.", "parameter_invalid_integer")
    after, before = forms.text(params, "starting_after"), forms.text(params, "ending_before")
    if after is not None and before is not None:
        raise ApiError(400, "You may only specify one of these parameters: starting_after, ending_before.")
    return Window(limit, after or None, before or None)


def query(store: Store, listing: Listing, params: Params, parent: str | None, failed_events: set[str]) -> Query:
    """The filters of a request. Raises ApiError 400 for unknown or malformed ones, 404 for an unknown parent."""
    for name in params:
        if name not in _PAGING and name not in listing.filters:
            raise unknown_parameter(name)
    for name in listing.required:
        if not params.get(name):
            raise required_parameter(name)
    asked = Query(listing.kinds, as_added=listing.as_added)
    if parent is not None and listing.parent is not None:
        _of_parent(store, asked, listing.parent, parent)
    _defaults(store, asked, listing, params)
    for name, kind in listing.filters.items():
        if name not in params or (listing.name, name) in _SPECIAL:
            continue
        if kind == "range":
            _range(asked, listing, name, params[name])
        elif kind == "hash":
            for part, value in _hash(params[name], name).items():
                asked.predicates.append(_equals(f"{name}.{part}", [_plain(value, name)]))
        else:
            _values(asked, listing, name, kind, params)
    for (list_name, name), special in _SPECIAL.items():
        if list_name == listing.name and name in params:
            special(store, asked, params, failed_events)
    return asked


def page(store: Store, asked: Query, at: Window, path_kind: str) -> tuple[list[bytes], bool]:
    """(stored bodies, has_more). Raises ApiError 400 for a cursor that does not exist (any more)."""
    try:
        if len(asked.kinds) > 1 or asked.as_added:
            return _page_of_all(_all(store, asked), at)
        if asked.predicates:
            return _scan(store, asked, at)
        return store.page(
            asked.kinds[0], where=asked.where, created=asked.created, parent=asked.parent, limit=at.limit,
            starting_after=at.starting_after, ending_before=at.ending_before, hidden=asked.hidden,
        )  # fmt: skip
    except KeyError as error:
        param = "ending_before" if at.ending_before else "starting_after"
        raise missing(path_kind, str(error.args[0]), param=param) from None


# Embedded lists whose URL has their owner as a parameter: its further pages must keep it.
_OWNERS = {"subscription_items": "subscription", "invoice_payments": "invoice"}


def url_of(listing: Listing, path: str, params: Params) -> str:
    """The `url` of a page."""
    owner = _OWNERS.get(listing.name, "")
    return f"{path}?{owner}={quote(params[owner])}" if owner in params else path


def envelope(url: str, rows: Sequence[bytes], has_more: bool) -> bytes:
    """The list object around bodies that are already encoded."""
    more = b"true" if has_more else b"false"
    return b'{"object":"list","data":[%b],"has_more":%b,"url":%b}' % (
        b",".join(rows), more, msgspec.json.encode(url)
    )  # fmt: skip


# ---- filters -------------------------------------------------------------------------------------------------
def _of_parent(store: Store, asked: Query, kind: str, id: str) -> None:
    found = store.get(id, kind)
    if found is None or found.get("deleted"):
        raise missing(kind, id)
    if kind in ("customer", "charge"):
        asked.where[kind] = id
    else:
        asked.parent = id


def _defaults(store: Store, asked: Query, listing: Listing, params: Params) -> None:
    """What a list hides unless it is asked for."""
    if listing.kind == "subscription" and "status" not in params:
        asked.where["not status"] = ["canceled"]
    if listing.name == "accounts":
        own = store.meta.get("account")
        asked.predicates.append(lambda obj: obj["id"] != own)
    if listing.name == "reviews":
        asked.where["open"] = "true"
    if listing.name == "tax_ids" and "owner" not in params:
        asked.predicates.append(lambda obj: (obj.get("owner") or {}).get("type") in ("self", "account"))
    if listing.kind in _ON_TEST_CLOCKS and "test_clock" not in params and store.count("test_helpers.test_clock"):
        asked.predicates.append(lambda obj: obj.get("test_clock") is None)


def _range(asked: Query, listing: Listing, name: str, value: Any) -> None:
    if isinstance(value, str):
        bounds = {"eq": forms.integer(value, name)}
    elif isinstance(value, dict) and value:
        for operator in value:
            if operator not in ("gt", "gte", "lt", "lte"):
                raise unknown_parameter(f"{name}[{operator}]")
        bounds = {operator: forms.integer(bound, f"{name}[{operator}]") for operator, bound in value.items()}
    else:
        raise invalid_parameter(name, f"Invalid object: {name}")
    if name == "created":
        asked.created = bounds
        return

    def within(obj: Object) -> bool:
        values = [each for each in _at(obj, listing.fields.get(name, name).split(".")) if each is not None]
        return any(all(_OPERATORS[operator](each, bound) for operator, bound in bounds.items()) for each in values)

    asked.predicates.append(within)


def _values(asked: Query, listing: Listing, name: str, kind: Any, params: Params) -> None:
    wanted = forms.texts(params, name) if kind == "texts" else [forms.text(params, name) or ""]
    if kind == "boolean":
        forms.boolean(wanted[0], name)
    if kind == "integer":
        forms.integer(wanted[0], name)
    if isinstance(kind, tuple) and wanted[0] not in kind:
        raise invalid_parameter(name, f"Invalid {name}: must be one of {', '.join(kind)}")
    if name in INDEXED and name not in listing.fields:
        asked.where[name] = wanted if kind == "texts" else wanted[0]
    else:
        asked.predicates.append(_equals(listing.fields.get(name, name), wanted))


def _equals(path: str, wanted: Sequence[str]) -> Predicate:
    parts = path.split(".")
    return lambda obj: any(_plain_text(value) in wanted for value in _at(obj, parts))


def _at(value: Any, parts: Sequence[str]) -> list[Any]:
    """The values at a dotted path; every element of the lists on the way, ids for objects."""
    if isinstance(value, list):
        return [found for each in value for found in _at(each, parts)]
    if not parts:
        return [value.get("id")] if isinstance(value, dict) else [value]
    return _at(value.get(parts[0]), parts[1:]) if isinstance(value, dict) else []


def _plain_text(value: Any) -> str | None:
    return ("true" if value else "false") if isinstance(value, bool) else None if value is None else str(value)


def _plain(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    raise invalid_parameter(name, f"Invalid string: {value}")


def _hash(value: Any, name: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise invalid_parameter(name, f"Invalid object: {name}")


def _subscription_status(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    status = forms.text(params, "status")
    if status not in _SUBSCRIPTION_STATUSES:
        raise invalid_parameter("status", f"Invalid status: must be one of {', '.join(_SUBSCRIPTION_STATUSES)}")
    if status == "ended":
        asked.where["status"] = ["canceled", "incomplete_expired"]
    elif status != "all":
        asked.where["status"] = status


def _invoices_of_subscription(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    id = forms.text(params, "subscription") or ""
    subscription = store.get(id, "subscription")
    if subscription is None:
        raise missing("subscription", id, param="subscription")
    asked.where["customer"] = subscription["customer"]  # an indexed attribute, so few rows are read
    asked.predicates.append(_equals("parent.subscription_details.subscription", [id]))


def _items_of_subscription(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    id = forms.text(params, "subscription") or ""
    if store.get(id, "subscription") is None:
        raise missing("subscription", id, param="subscription")
    asked.where["subscription"] = id


def _pending_items(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    pending = forms.boolean(params["pending"], "pending")
    asked.predicates.append(lambda obj: (obj.get("invoice") is None) == pending)


def _scheduled(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    scheduled = forms.boolean(params["scheduled"], "scheduled")
    asked.predicates.append(lambda obj: (obj["status"] == "not_started") == scheduled)


def _bound(name: str, attribute: str, operator: str) -> Special:
    """A parameter that is one end of a range of another attribute."""

    def narrow(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
        bound = forms.integer(params[name], name)
        asked.predicates.append(lambda obj: _OPERATORS[operator](obj[attribute], bound))

    return narrow


def _event_type(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    if "types" in params:
        raise ApiError(400, "You may only specify one of these parameters: type, types.")
    wanted = forms.text(params, "type") or ""
    if wanted.endswith("*"):
        asked.predicates.append(lambda obj: obj["type"].startswith(wanted[:-1]))
    else:
        asked.where["type"] = wanted


def _event_types(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    types = forms.texts(params, "types")
    if len(types) > 20:
        raise invalid_parameter("types", "Array must have at most 20 elements.")
    asked.where["type"] = types


def _delivery_success(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    delivered = forms.boolean(params["delivery_success"], "delivery_success")
    asked.predicates.append(lambda obj: (obj["id"] not in failed) == delivered)


_SPECIAL: dict[tuple[str, str], Special] = {
    ("subscriptions", "status"): _subscription_status,
    ("invoices", "subscription"): _invoices_of_subscription,
    ("subscription_items", "subscription"): _items_of_subscription,
    ("invoice_items", "pending"): _pending_items,
    ("subscription_schedules", "scheduled"): _scheduled,
    ("billing_meter_event_summaries", "start_time"): _bound("start_time", "start_time", "gte"),
    ("billing_meter_event_summaries", "end_time"): _bound("end_time", "end_time", "lte"),
    ("payment_records", "created_after"): _bound("created_after", "created", "gt"),
    ("payment_records", "created_before"): _bound("created_before", "created", "lt"),
    ("events", "type"): _event_type,
    ("events", "types"): _event_types,
    ("events", "delivery_success"): _delivery_success,
}


# ---- pages that the store cannot cut by itself ---------------------------------------------------------------
def _scan(store: Store, asked: Query, at: Window) -> tuple[list[bytes], bool]:
    """Read on from the cursor until one more than a page passes the predicates."""
    backwards = at.ending_before is not None
    cursor = at.ending_before if backwards else at.starting_after
    found: list[bytes] = []
    while True:
        rows, more = store.page(
            asked.kinds[0], where=asked.where, created=asked.created, parent=asked.parent, limit=100,
            starting_after=None if backwards else cursor, ending_before=cursor if backwards else None,
            hidden=asked.hidden,
        )  # fmt: skip
        for row in reversed(rows) if backwards else rows:
            obj = _decode(row)
            cursor = obj["id"]
            if all(predicate(obj) for predicate in asked.predicates):
                found.append(row)
                if len(found) > at.limit:
                    kept = found[: at.limit]
                    return (kept[::-1] if backwards else kept), True
        if not more:
            return (found[::-1] if backwards else found), False


def _all(store: Store, asked: Query) -> list[bytes]:
    rows: list[bytes] = []
    for kind in asked.kinds:
        cursor = None
        more = True
        while more:
            part, more = _scan(
                store,
                Query((kind,), asked.where, asked.created, asked.parent, asked.predicates, hidden=asked.hidden),
                Window(100, starting_after=cursor),
            )
            rows += part
            cursor = _decode(part[-1])["id"] if part else None
    return rows[::-1] if asked.as_added else rows


def _page_of_all(rows: list[bytes], at: Window) -> tuple[list[bytes], bool]:
    cursor = at.ending_before or at.starting_after
    if cursor is None:
        return rows[: at.limit], len(rows) > at.limit
    ids = [_decode(row)["id"] for row in rows]
    if cursor not in ids:
        raise KeyError(cursor)
    place = ids.index(cursor)
    if at.ending_before:
        return rows[max(0, place - at.limit) : place], place > at.limit
    after = rows[place + 1 :]
    return after[: at.limit], len(after) > at.limit
