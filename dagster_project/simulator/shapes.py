"""New objects in Stripe's shape.

`templates.json` holds, per kind, every key that version 2026-10-28.endive always sends, with its neutral value (null
where Stripe allows it); the caller fills in what is known. Optional keys stay absent.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

Object = dict[str, Any]
_TEMPLATES: dict[str, Object] = json.loads((Path(__file__).parent / "templates.json").read_text(encoding="utf-8"))


def new(kind: str, id: str, **fields: Any) -> Object:
    """An object of `kind`; raises KeyError for a kind without a template."""
    obj = _copy(_TEMPLATES[kind])
    obj["id"] = id
    if "livemode" in obj:
        obj["livemode"] = True
    obj.update(fields)
    return obj


def embedded(url: str, data: list[Object], total: int | None = None) -> Object:
    """The first page of a nested list, as Stripe embeds it: ten rows unless the list has its own default."""
    total = len(data) if total is None else total
    return {"object": "list", "data": data[:10], "has_more": total > 10, "url": url}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return list(value) if isinstance(value, list) else value


def frozen(obj: Object) -> Object:
    """A copy that later changes do not reach."""
    return copy.deepcopy(obj)
