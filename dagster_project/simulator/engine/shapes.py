"""New objects in Stripe's shape.

`templates.json` holds, per kind, every key that version 2026-10-28.endive always sends, with its neutral value (null
where Stripe allows it); the caller fills in what is known. Optional keys stay absent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec

Object = dict[str, Any]
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
# Kept encoded: decoding one anew is the quickest copy.
_TEMPLATES: dict[str, bytes] = {
    kind: _encode(template)
    for kind, template in _decode((Path(__file__).parent / "templates.json").read_bytes()).items()
}

# Whether what is made now is live data; of the account that is at work, so that no maker of an object need ask it.
_LIVE = ContextVar("live", default=True)


@contextlib.contextmanager
def in_mode(livemode: bool) -> Iterator[None]:
    """Inside, new objects are live data or test data."""
    before = _LIVE.set(livemode)
    try:
        yield
    finally:
        _LIVE.reset(before)


def new(kind: str, id: str, **fields: Any) -> Object:
    """An object of `kind`; raises KeyError for a kind without a template."""
    obj: Object = _decode(_TEMPLATES[kind])
    obj["id"] = id
    if "livemode" in obj:
        obj["livemode"] = _LIVE.get()
    obj.update(fields)
    return obj


def embedded(url: str, data: list[Object], total: int | None = None) -> Object:
    """The first page of a nested list, as Stripe embeds it: ten rows unless the list has its own default."""
    total = len(data) if total is None else total
    return {"object": "list", "data": data[:10], "has_more": total > 10, "url": url}


def frozen(obj: Object) -> Object:
    """A copy that later changes do not reach."""
    copied: Object = _decode(_encode(obj))
    return copied
