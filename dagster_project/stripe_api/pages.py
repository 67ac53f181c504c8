"""List pages as bytes: cut into their objects, which keep Stripe's own bytes and never become SDK objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec

from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject


class Nested(msgspec.Struct):
    """The head of an embedded list."""

    has_more: bool = False
    url: str = ""


class _Envelope(msgspec.Struct):
    object: str
    data: list[msgspec.Raw]
    has_more: bool


_envelope = msgspec.json.Decoder(_Envelope)


@dataclass(frozen=True)
class Page:
    lines: list[bytes]
    heads: list[Any]
    has_more: bool
    asked_at: datetime
    request: dict[str, Any]


class Unusable(ValueError):
    """An answer that is JSON and not what was asked for; says what is wrong with it."""


def compact(body: bytes) -> bytes:
    """JSON in one line. Raises msgspec.DecodeError for a body that is cut short."""
    if b"\n" in body or b'": ' in body[:200]:
        return msgspec.json.format(body, indent=-1)
    return body


def read_page(row: StripeObject, body: bytes) -> tuple[list[bytes], list[Any], bool]:
    """The objects of a page, one compact line each; their heads; and whether there is more.

    Raises msgspec.DecodeError for a body that is cut short, Unusable for one that is no page of objects with ids.
    """
    try:
        envelope = _envelope.decode(compact(body))
        try:
            heads = [*map(_head(row.name).decode, envelope.data)]
        except msgspec.ValidationError:
            heads = [head(row, item) for item in envelope.data]
    except msgspec.ValidationError as error:
        raise Unusable(f"is no list ({error})") from error
    if None in [one.id for one in heads]:
        raise Unusable("holds an object without id")
    if envelope.has_more and not heads:
        raise Unusable("says that there is more and sends nothing")
    return [bytes(item) for item in envelope.data], heads, envelope.has_more


def read_object(row: StripeObject, body: bytes) -> bytes:
    """One object as a compact line. Raises msgspec.DecodeError, and Unusable when it has no id."""
    line = compact(body)
    try:
        if head(row, line).id is None:
            raise Unusable("holds an object without id")
    except msgspec.ValidationError as error:
        raise Unusable(f"is no object ({error})") from error
    return line


def head(row: StripeObject, line: bytes | msgspec.Raw) -> Any:
    """`id`, `created`, `deleted` and the embedded lists of an object; raises msgspec.DecodeError for no object."""
    try:
        return _head(row.name).decode(line)
    except msgspec.ValidationError:
        # A field where a list is expected holds something else, as servers of older versions may send.
        plain: dict[str, Any] = msgspec.json.decode(line, type=dict)
        type_ = _head(row.name).type
        usable = {
            name: plain[name]
            for name in type_.__struct_fields__
            if name in plain and (isinstance(plain[name], dict) or name in ("id", "deleted", row.created_field))
        }
        return msgspec.convert(usable, type_)


@cache
def _head(name: str) -> msgspec.json.Decoder[Any]:
    """Decodes only what reading on needs: id, created, heads of embedded lists, and what leads to other lists."""
    row = CATALOGUE[name]
    fields: list[Any] = [
        ("id", str | None, None),
        (row.created_field, int | None, None),
        ("deleted", bool | None, None),
    ]
    for child in CATALOGUE.values():
        if child.parent == row.name and child.parent_field:
            fields.append((child.parent_field, Nested | None, None))
    fields += [(field, Any, None) for field in row.leads_when or ()]
    return msgspec.json.Decoder(msgspec.defstruct(f"Head_{row.name}", fields))


def where(name: str, path: str, params: Mapping[str, Any]) -> str:
    """What was asked for, in words: the object, the range of `created`, the cursor and the path."""
    parts = [name] if name else []
    ends = [params.get(f"created[{end}]") for end in ("gte", "lte")]
    if any(ends):
        parts.append("created " + " to ".join(_moment(end) for end in ends))
    if params.get("starting_after"):
        parts.append(f"after {params['starting_after']}")
    return f"{', '.join(parts)} ({path})" if parts else path


def _moment(seconds: Any) -> str:
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%d %H:%M:%S}" if seconds else "…"
