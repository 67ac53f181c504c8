"""GET /v1/customers/search and its like: objects by what is in them, newest first, in pages named by a token."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.tables import INDEXED
from dagster_project.simulator.http import expand, forms, lists
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, required_parameter, unknown_parameter
from dagster_project.simulator.http.endpoints import listings
from dagster_project.simulator.http.forms import Params
from dagster_project.simulator.http.search_language import Condition, parse

_TAKES = ("query", "page", "limit", "expand")
_decode = msgspec.json.Decoder().decode


@cache
def searchable() -> Mapping[str, Mapping[str, str]]:
    """The lists that can be searched, each with its fields and their kinds."""
    read = yaml.safe_load((Path(__file__).parent / "search_fields.yaml").read_text(encoding="utf-8"))
    return dict(read)


def found(store: Store, name: str, params: Params, hidden: frozenset[str]) -> dict[str, Any]:
    """The search result object; `hidden` are ids that search does not know yet.

    Raises ApiError 400 for a malformed query or a page that no search of this query gave.
    """
    for parameter in params:
        if parameter not in _TAKES:
            raise unknown_parameter(parameter)
    query = forms.text(params, "query")
    if not query:
        raise required_parameter("query")
    condition = parse(query, name, searchable()[name])
    limit, counted, asked = lists.limit_of(params), False, []
    for path in forms.texts(params, "expand"):
        if path == "total_count":
            counted = True
        else:
            asked += expand.paths({"expand": [path]}, of_list=True)
    after = _cursor(forms.text(params, "page"), name, query)
    rows: list[tuple[bytes, str]] = []
    total, more = 0, False
    for body, id in _matches(store, listings()[name].kind, condition, hidden):
        total += 1
        if after is None:
            if len(rows) == limit:
                more = True
                if not counted:
                    break
            else:
                rows.append((body, id))
        elif id == after:
            after = None
    if after is not None:
        raise _unknown_page()
    result: dict[str, Any] = {
        "object": "search_result",
        "data": [msgspec.Raw(row) for row in expand.rows(store, [body for body, _ in rows], asked)],
        "has_more": more,
        "next_page": _token(name, query, rows[-1][1]) if more else None,
        "url": f"/v1/{name}/search",
    }
    return result | ({"total_count": total} if counted else {})


def _matches(store: Store, kind: str, condition: Condition, hidden: frozenset[str]) -> Iterator[tuple[bytes, str]]:
    narrowed = lists.Query((kind,), hidden=hidden)
    if not condition.either:
        _narrow(narrowed, condition)
    cursor, more = None, True
    while more:
        rows, more = lists.page(store, narrowed, lists.Window(1000, cursor), kind)
        for row in rows:
            if not condition.cannot_be(row) and condition.holds(obj := _decode(row)):
                yield row, obj["id"]
        cursor = _decode(rows[-1])["id"] if rows else None


def _narrow(query: lists.Query, condition: Condition) -> None:
    """Let the store find by what it indexes; it compares exactly, and these values are all in lower case or ids."""
    signs = {":": "eq", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
    for clause in condition.clauses:
        field = clause.path[0]
        if clause.negated or clause.value is None or len(clause.path) != 1:
            continue
        if field == "created" and clause.value.lstrip("-").isdigit():
            query.created[signs[clause.operator]] = int(clause.value)
        elif field in INDEXED and field in ("status", "currency", "active"):
            query.where[field] = clause.value.lower()


def _token(name: str, query: str, id: str) -> str:
    """Names the place after an object, for this search only."""
    return base64.urlsafe_b64encode(f"{_digest(name, query)}{id}".encode()).decode()


def _cursor(token: str | None, name: str, query: str) -> str | None:
    if not token:
        return None
    try:
        digest, _, id = base64.urlsafe_b64decode(token).decode().partition(":")
    except (binascii.Error, ValueError):
        raise _unknown_page() from None
    if f"{digest}:" != _digest(name, query) or not id:
        raise _unknown_page()
    return id


def _digest(name: str, query: str) -> str:
    return hashlib.sha256(f"{name} {query}".encode()).hexdigest()[:16] + ":"


def _unknown_page() -> ApiError:
    return invalid_parameter("page", "Invalid page: use the next_page of a search with the same query.")
