"""Stripe's search query language: clauses such as `email~"ada" AND -metadata["tier"]:"gold"`.

Clauses are joined by AND (or a space) or by OR, never by both; `-` negates one. Matching ignores case.
Source: https://docs.stripe.com/search#search-query-language
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dagster_project.simulator.http.api_errors import ApiError
from dagster_project.simulator.http.filters import at

Object = dict[str, Any]
_CLAUSE = re.compile(
    r"""\s*(?P<negated>-)?
    (?P<field>[A-Za-z_][\w.]*)
    (?:\[\s*(?P<quote>["'])(?P<key>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)\s*\])?
    \s*(?P<operator>>=|<=|[:~<>])\s*
    (?:"(?P<double>(?:\\.|[^"\\])*)"|'(?P<single>(?:\\.|[^'\\])*)'|(?P<bare>-?\d+(?:\.\d+)?|null|NULL)(?=\s|$))""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_JOINT = re.compile(r"\s+(?:(AND|OR)\s+)?(?=\S)", re.IGNORECASE)
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    ":": operator.eq, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip
_PLAIN = re.compile(r"[ !#-\[\]-~]+", re.ASCII)
_SHORTEST_PART = 3
_MOST_CLAUSES, _LONGEST = 50, 5_000


@dataclass(frozen=True)
class Clause:
    """One condition. `value` is None for null; `kind` is number, text or token; `path` where the field lies."""

    path: tuple[str, ...]
    kind: str
    operator: str
    value: str | None
    negated: bool

    def holds(self, obj: Object) -> bool:
        return self._matches([value for value in at(obj, self.path) if value is not None]) != self.negated

    def _matches(self, values: list[Any]) -> bool:
        if self.value is None:
            return not values
        if self.kind == "number":
            wanted = float(self.value)
            return any(_COMPARED[self.operator](value, wanted) for value in values if isinstance(value, int | float))
        wanted_text = self.value.casefold()
        texts = [_text(value).casefold() for value in values]
        return any(wanted_text in text if self.operator == "~" else wanted_text == text for text in texts)


@dataclass(frozen=True)
class Condition:
    """Clauses of which all hold, or with `either` any."""

    clauses: tuple[Clause, ...]
    either: bool = False

    def holds(self, obj: Object) -> bool:
        return (any if self.either else all)(clause.holds(obj) for clause in self.clauses)

    def cannot_be(self, body: bytes) -> bool:
        """Whether an object is certainly none, told from its bytes alone: decoding every object takes longest."""
        if self.either or not self._needles or not body.isascii():
            return False
        lowered = body.lower()
        return any(needle not in lowered for needle in self._needles)

    @cached_property
    def _needles(self) -> list[bytes]:
        """What the bytes of every match contain in lower case, as far as JSON writes it as it is."""
        wanted = [each.value for each in self.clauses if not each.negated and each.kind != "number" and each.value]
        return [value.lower().encode() for value in wanted if _PLAIN.fullmatch(value)]


def parse(query: str, resource: str, fields: Mapping[str, str]) -> Condition:
    """Raises ApiError 400 for what is no query, a field that cannot be searched by, or AND mixed with OR."""
    if len(query) > _LONGEST or not query.strip():
        raise _unparsable()
    clauses: list[Clause] = []
    joints: set[str] = set()
    place = 0
    while True:
        match = _CLAUSE.match(query, place)
        if match is None or len(clauses) == _MOST_CLAUSES:
            raise _unparsable()
        clauses.append(_clause(match, resource, fields))
        if not query[match.end() :].strip():
            break
        joint = _JOINT.match(query, match.end())
        if joint is None:
            raise _unparsable()
        joints.add((joint[1] or "and").lower())
        place = joint.end()
    if len(joints) > 1:
        raise _refused("You cannot combine AND and OR operators in a single search query.")
    return Condition(tuple(clauses), joints == {"or"})


def _clause(match: re.Match[str], resource: str, fields: Mapping[str, str]) -> Clause:
    name, key, sign = match["field"], match["key"], match["operator"]
    declared = _declared(name, fields) if (key is not None) == (name == "metadata") else None
    if declared is None:
        raise _refused(
            f"Field `{name[:100]}` is an unsupported search field for resource `{resource}`. See "
            f"https://docs.stripe.com/search#query-fields-for-{resource.replace('_', '')} for a list of supported "
            "fields."
        )
    kind, _, where = declared.partition(" ")
    value = match["bare"] or _unescaped(match["double"] if match["double"] is not None else match["single"])
    nothing = match["bare"] is not None and value.lower() == "null"
    if nothing and sign != ":":
        raise _refused(f"Field `{name}` can only be compared with null by `:`.")
    if kind == "number" and not nothing and not re.fullmatch(r"-?\d{1,18}(\.\d{1,12})?", value, re.ASCII):
        raise _refused(f"Field `{name}` is numeric; `{value[:100]}` is no number.")
    if (kind == "number" and sign == "~") or (kind != "number" and sign in (">", "<", ">=", "<=")):
        raise _refused(f"Field `{name}` does not support the operator `{sign}`.")
    if sign == "~" and kind != "text":
        raise _refused(f"Field `{name}` does not support the operator `~`: only whole values match.")
    if sign == "~" and len(value) < _SHORTEST_PART:
        raise _refused(f"The value of a substring match must have at least {_SHORTEST_PART} characters.")
    path = ("metadata", _unescaped(key)) if key is not None else tuple((where or name).split("."))
    return Clause(path, kind, sign, None if nothing else value, match["negated"] is not None)


def _declared(name: str, fields: Mapping[str, str]) -> str | None:
    if name in fields:
        return fields[name]
    parts = name.split(".")
    return fields.get(".".join([parts[0], "*", *parts[2:]])) if len(parts) > 2 else None


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _unparsable() -> ApiError:
    return _refused(
        'We were unable to parse your search query. Try using the format `metadata["key"]:"value"` to query for '
        'metadata or `key:"value"` to query for other fields.'
    )


def _refused(message: str) -> ApiError:
    return ApiError(400, message, param="query")
