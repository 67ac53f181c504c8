"""Which lists there are and what they take, against the typed parameters of Stripe's own client."""

from __future__ import annotations

import importlib
import json
import re
import typing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import stripe
from stripe._request_options import RequestOptions

from dagster_project.simulator.http.endpoints import listings
from dagster_project.simulator.http.lists import PAGING
from dagster_project.simulator.http.routes import router

_METHOD = re.compile(
    r'    def (?:list|retrieve)\(\s*self,((?:(?!def ).)*?)\) -> "(.*?)":.*?"get",\s*"(/v1/[^"]*)"', re.DOTALL
)


@cache
def sdk() -> tuple[dict[str, Any], set[str]]:
    """The SDK's lists, each with the class of its parameters, and its other paths that are read."""
    lists, singles = {}, set()
    for file in sorted(Path(stripe.__file__).parent.rglob("_*_service.py")):
        text = file.read_text(encoding="utf-8")
        modules = {name: module for module, name in re.findall(r"from (stripe\.params[\w.]*) import \(?\s*(\w+)", text)}
        for arguments, answer, path in _METHOD.findall(text):
            path = re.sub(r"{[^}]*}", "{id}", path)
            if answer.startswith("ListObject"):
                name = re.findall(r'"(\w+Params)"', arguments)[0]
                lists[path] = getattr(importlib.import_module(modules[name]), name)
            else:
                singles.add(path)
    return lists, singles


def kind_of(annotation: Any, module: Any) -> tuple[str, dict[str, Any] | list[str] | None]:
    """What a typed parameter takes: (kind, its parts or words), in the words of endpoints.yaml."""
    while typing.get_origin(annotation) is typing.NotRequired:
        (annotation,) = typing.get_args(annotation)
    simple = {str: "text", bool: "boolean", int: "integer", list[str]: "texts", typing.List[str]: "texts"}  # noqa: UP006
    if annotation in simple:
        return simple[annotation], None
    text = getattr(annotation, "__forward_arg__", str(annotation)).replace("typing.", "")
    if "Literal" in text:
        words = re.findall(r"'([^']*)'", text)
        return ("words", words) if words != [""] else ("text", None)
    parts = getattr(module, text.partition("|")[0]).__annotations__
    return ("range", None) if set(parts) == {"gt", "gte", "lt", "lte"} else ("parts", sorted(parts))


def test_there_are_exactly_the_lists_of_the_sdk_and_two_old_ones():
    ours = {listing.path for listing in listings().values()}
    previews = {"/v1/credit_notes/preview/lines"}  # computed, not listed
    assert ours - set(sdk()[0]) == {"/v1/charges/{id}/refunds", "/v1/customers/{id}/subscriptions"}
    assert set(sdk()[0]) - ours == previews
    assert len(sdk()[0]) == 120


# Kept as text: there are more words than one wants to read.
LONG = {("payment_methods", "type"), ("customer_payment_methods", "type"), ("files", "purpose"),
        ("subscriptions", "status")}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, row in listings().items() if row.path in sdk()[0]])
def test_a_list_takes_exactly_the_parameters_of_the_sdk(name):
    listing = listings()[name]
    takes = sdk()[0][listing.path]
    module = importlib.import_module(takes.__module__)
    theirs = {each: kind for each, kind in takes.__annotations__.items() if each not in RequestOptions.__annotations__}
    assert set(theirs) - set(PAGING) == set(listing.filters)
    assert {each for each in takes.__required_keys__ if each in theirs} == set(listing.required)
    for filter_name, ours in listing.filters.items():
        kind, more = kind_of(theirs[filter_name], module)
        if isinstance(ours, str):
            assert ours == ("text" if (name, filter_name) in LONG else kind), filter_name
        elif isinstance(ours, tuple):
            assert (kind, sorted(more or ())) == ("words", sorted(ours)), filter_name
        else:
            assert (kind, more) == ("parts", sorted(part.removesuffix("!") for part in ours)), filter_name


def test_what_the_sdk_reads_beside_a_list_can_be_read():
    found = router()
    for path in sdk()[1]:
        if any(path == f"{listing.path}/{{id}}" for listing in listings().values()):
            assert found.find("GET", path.replace("{id}", "x_1")), path
    for listing in listings().values():
        single = found.find("GET", f"{listing.path}/x_1".replace("{id}", "y_1"))
        assert (f"{listing.path}/{{id}}" in sdk()[1]) == (single is not None), listing.path


def parent_of(business, kind: str) -> str:
    """An object under which a list may hang; made up when the business has none."""
    rows, _ = business.store.page(kind, limit=1)
    if rows:
        return str(json.loads(rows[0])["id"])
    business.store.insert({"id": "parent_1", "object": kind, "created": 1})
    return "parent_1"


@pytest.mark.parametrize("name", listings())
def test_a_list_answers_with_stripes_envelope_and_its_own_url(business_to_read, name):
    business, listing = business_to_read, listings()[name]
    path = listing.path
    if listing.parent:
        status, _, refused = business.raw(path.replace("{id}", "none_1"))
        if listing.required:
            assert status == 400
        else:
            assert (status, refused["error"]["code"]) == (404, "resource_missing")
        path = path.replace("{id}", parent_of(business, listing.parent))
    values = {
        "customer": parent_of(business, "customer"), "subscription": parent_of(business, "subscription"),
        "start_time": "0", "end_time": "60", "type": "performance",
    }  # fmt: skip
    query = "&".join(
        f"{each}[type]=account" if each == "scope" else f"{each}={values.get(each, 'x_1')}" for each in listing.required
    )
    status, headers, answer = business.raw(f"{path}?{query}")
    assert (status, set(answer)) == (200, {"object", "data", "has_more", "url"})
    assert (answer["object"], answer["url"].partition("?")[0]) == ("list", path)
    assert answer["has_more"] in (True, False)
    assert len(answer["data"]) <= 10
    assert headers["Request-Id"].startswith("req_")
    assert all(row["object"] in listing.kinds or listing.kind == "external_account" for row in answer["data"])
    if listing.required:
        status, _, refused = business.raw(path)
        assert (status, refused["error"]["param"]) == (400, listing.required[0])


_RETRIEVED = sorted(f"{row.path}/x_1" for row in listings().values() if row.retrieve and row.name != "accounts")


@pytest.mark.parametrize("path", _RETRIEVED)  # an account that does not exist is one without access: test_connect
def test_an_object_that_does_not_exist_is_404(business_to_read, path):
    status, _, refused = business_to_read.raw(path.replace("{id}", "none_1"))
    assert (status, refused["error"]["code"], refused["error"]["type"]) == (
        404,
        "resource_missing",
        "invalid_request_error",
    )
