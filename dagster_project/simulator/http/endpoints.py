"""Which lists exist, as data (endpoints.yaml, other_lists.yaml), and how a path finds its handler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import unquote

import yaml

FilterType = str | tuple[str, ...] | Mapping[str, Any]
Handler = TypeVar("Handler")


@dataclass(frozen=True)
class Listing:
    """One list of Stripe's API; the meaning of each field is described in endpoints.yaml."""

    name: str
    path: str
    kinds: tuple[str, ...]
    parent: str | None = None
    filters: Mapping[str, FilterType] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    as_added: bool = False
    retrieve: bool = True

    @property
    def kind(self) -> str:
        return self.kinds[0]


@cache
def listings() -> Mapping[str, Listing]:
    """Every list by name."""
    files = ("endpoints.yaml", "other_lists.yaml")
    rows = [yaml.safe_load((Path(__file__).parent / file).read_text(encoding="utf-8")) for file in files]
    return {name: _listing(name, row) for part in rows for name, row in part.items()}


def _listing(name: str, row: Mapping[str, Any]) -> Listing:
    return Listing(
        name=name,
        path=row["path"],
        kinds=tuple(row["kind"].split("|")),
        parent=row.get("parent"),
        filters={
            filter_name: tuple(kind) if isinstance(kind, list) else kind
            for filter_name, kind in row.get("filters", {}).items()
        },
        fields=row.get("fields", {}),
        required=tuple(row.get("required", ())),
        as_added=row.get("order") == "as_added",
        retrieve=row.get("retrieve", not row.get("parent")),
    )


# Segments to what follows them. The marks are no strings, because any string can be a segment that a client sends.
_Node = dict[Any, Any]
_ANY, _HERE = object(), object()


class Router(Generic[Handler]):
    """Paths with `{id}` segments to handlers. Fixed segments win over `{id}`."""

    def __init__(self) -> None:
        self._root: _Node = {}

    def add(self, method: str, path: str, handler: Handler) -> None:
        node = self._root
        for segment in path.strip("/").split("/"):
            node = node.setdefault(_ANY if segment.startswith("{") else segment, {})
        node.setdefault(_HERE, {})[method] = (path, handler)

    def handlers(self) -> Iterator[Handler]:
        nodes = [self._root]
        while nodes:
            node = nodes.pop()
            nodes += [child for segment, child in node.items() if segment is not _HERE]
            yield from (handler for _, handler in node.get(_HERE, {}).values())

    def find(self, method: str, path: str) -> tuple[str, Handler, list[str]] | None:
        """(pattern, handler, the ids in the path), or None. `path` is as sent: an encoded slash belongs to an id."""
        segments = map(unquote, path.split("/")) if "%" in path else path.split("/")
        found = _walk(self._root, list(segments)[1:], [])
        if found is None or method not in found[0]:
            return None
        pattern, handler = found[0][method]
        return pattern, handler, found[1]


def _walk(node: _Node, segments: list[str], ids: list[str]) -> tuple[dict[str, Any], list[str]] | None:
    if not segments:
        return (node[_HERE], ids) if _HERE in node else None
    first, rest = segments[0], segments[1:]
    if first in node:
        found = _walk(node[first], rest, ids)
        if found is not None:
            return found
    if first and _ANY in node:
        return _walk(node[_ANY], rest, [*ids, first])
    return None
