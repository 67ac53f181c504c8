"""Pages of lists: Stripe's paging rules over the stored bodies.

What the store indexes narrows its query; other conditions are checked object by object, until the page is full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import msgspec

from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.http import forms
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing
from dagster_project.simulator.http.endpoints import Listing
from dagster_project.simulator.http.forms import Params

Object = dict[str, Any]
Predicate = Callable[[Object], bool]
PAGING = ("limit", "starting_after", "ending_before", "expand")
_decode = msgspec.json.Decoder().decode


@dataclass
class Query:
    """Which objects a list shows, independent of the page asked for. `where` is for the store, see Store.page."""

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


def limit_of(params: Params) -> int:
    """Raises ApiError 400 for a limit outside 1 to 100."""
    limit = forms.integer(params["limit"], "limit") if "limit" in params else 10
    if limit > 100:
        raise invalid_parameter("limit", "This value must be less than or equal to 100.", "parameter_invalid_integer")
    if limit < 1:
        raise invalid_parameter("limit", "This value must be greater than or equal to 1.", "parameter_invalid_integer")
    return limit


def window(params: Params) -> Window:
    """Raises ApiError 400 for a limit out of bounds or for two cursors at once."""
    after, before = forms.text(params, "starting_after"), forms.text(params, "ending_before")
    if after is not None and before is not None:
        raise ApiError(400, "You may only specify one of these parameters: starting_after, ending_before.")
    return Window(limit_of(params), after or None, before or None)


def page(store: Store, asked: Query, at: Window, path_kind: str) -> tuple[list[bytes], bool]:
    """(stored bodies, has_more). Raises ApiError 400 for a cursor that does not exist (any more)."""
    try:
        if len(asked.kinds) > 1 or asked.as_added:
            return cut(everything(store, asked), at)
        if asked.predicates:
            return _scan(store, asked, at)
        return _stored(store, asked, at)
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


def everything(store: Store, asked: Query) -> list[bytes]:
    """All bodies that a query shows, without pages."""
    rows: list[bytes] = []
    for kind in asked.kinds:
        cursor, more = None, True
        while more:
            one_kind = replace(asked, kinds=(kind,))
            part, more = _scan(store, one_kind, Window(100, starting_after=cursor))
            rows += part
            cursor = _decode(part[-1])["id"] if part else None
    return rows[::-1] if asked.as_added else rows


def _stored(store: Store, asked: Query, at: Window) -> tuple[list[bytes], bool]:
    return store.page(
        asked.kinds[0], where=asked.where, created=asked.created, parent=asked.parent, limit=at.limit,
        starting_after=at.starting_after, ending_before=at.ending_before, hidden=asked.hidden,
    )  # fmt: skip


def _scan(store: Store, asked: Query, at: Window) -> tuple[list[bytes], bool]:
    """Read on from the cursor until one more than a page passes the predicates."""
    backwards = at.ending_before is not None
    cursor = at.ending_before if backwards else at.starting_after
    found: list[bytes] = []
    while True:
        rows, more = _stored(store, asked, Window(100, None if backwards else cursor, cursor if backwards else None))
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


def cut(rows: list[bytes], at: Window) -> tuple[list[bytes], bool]:
    """The asked page of all rows. Raises KeyError(id) for an unknown cursor."""
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
