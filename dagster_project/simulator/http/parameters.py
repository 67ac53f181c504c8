"""What calls take, as data: the parameters in calls/*.yaml, read into values or refused as Stripe refuses them.

    name: text                     a string; "" unsets (None)
    name!: text                    required
    name: texts                    an array of strings
    name: integer | count | amount any; at least 1; at least 0
    name: decimal | percent        decimal text; a number from 0 to 100
    name: boolean
    name: currency                 three letters, in lower case
    name: time                     Unix seconds; further words are accepted as they are: `time now unchanged`;
                                   with the word `unset`, "" unsets (None)
    name: metadata                 a hash of strings; "" (as {"": ""}) removes all
    name: id price                 the id of an object, which is handed on as the object; several kinds with |
    name: ids coupon               an array of such ids
    name: [none, exempt]           one of these words
    name: {city: text}             a hash
    name: [{price: id price}]      an array of hashes
    name: {"*": {amount: amount}}  a hash whose keys the caller chooses
    name: any                      whatever was sent

Raises ApiError 400 for everything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from dagster_project.simulator.http import forms
from dagster_project.simulator.http.api_errors import (
    empty_parameter,
    invalid_parameter,
    missing,
    not_one_of,
    required_parameter,
    unknown_parameter,
)
from dagster_project.simulator.http.forms import Params

Object = dict[str, Any]
Find = Callable[[str, str], Object | None]  # (kind, id) -> the live object
_MAX_TEXT, _MAX_KEYS, _MAX_KEY, _MAX_VALUE = 5_000, 50, 40, 500
_DECIMAL = re.compile(r"-?\d{1,18}(\.\d{1,12})?", re.ASCII)


def checked(given: Params, takes: Mapping[str, Any], find: Find, within: str = "") -> Params:
    """The parameters that were given, as values."""
    known = {name.removesuffix("!"): kind for name, kind in takes.items()}
    for name in given:
        if name not in known:
            raise unknown_parameter(_full(within, name))
    for name in takes:
        if name.endswith("!") and given.get(name[:-1]) == "":
            raise empty_parameter(_full(within, name[:-1]))
        if name.endswith("!") and given.get(name[:-1]) in (None, {}, []):
            raise required_parameter(_full(within, name[:-1]))
    return {name: _value(value, known[name], _full(within, name), find) for name, value in given.items()}


def merged(current: Mapping[str, str] | None, given: Mapping[str, str]) -> dict[str, str]:
    """Metadata is merged key by key: an empty value removes its key, `{"": ""}` all of them."""
    if "" in given:
        return {}
    return {name: value for name, value in {**(current or {}), **given}.items() if value != ""}


def _full(within: str, name: str) -> str:
    return f"{within}[{name}]" if within else name


def _value(value: Any, kind: Any, name: str, find: Find) -> Any:
    if isinstance(kind, Mapping):
        return _hash(value, kind, name, find)
    if isinstance(kind, list):
        if kind and isinstance(kind[0], Mapping):
            rows = _array(value, name)
            return [_hash(row, kind[0], f"{name}[{place}]", find) or {} for place, row in enumerate(rows)]
        text = _text(value, name)
        if text and text not in kind:
            raise not_one_of(name, kind)
        return text or None
    first, *words = kind.split()
    if first in ("id", "ids"):
        kinds = words[0].split("|")
        if first == "ids":
            return [_named(each, kinds, f"{name}[{place}]", find) for place, each in enumerate(_array(value, name))]
        return _named(value, kinds, name, find) if value != "" else None
    if first == "time" and value in words:
        return value
    if first == "time" and value == "" and "unset" in words:
        return None
    return _SCALARS[first](value, name)


def _hash(value: Any, takes: Mapping[str, Any], name: str, find: Find) -> Params | None:
    if value == "":
        return None
    if not isinstance(value, dict):
        raise invalid_parameter(name, f"Invalid object: {name}")
    if "*" in takes:
        takes = dict.fromkeys(value, takes["*"])
    return checked(value, takes, find, name)


def _array(value: Any, name: str) -> list[Any]:
    if value == "":
        return []
    if not isinstance(value, list):
        raise invalid_parameter(name, f"Invalid array: {name}")
    return value


def _named(value: Any, kinds: list[str], name: str, find: Find) -> Object:
    id = _text(value, name)
    for kind in kinds:
        found = find(kind, id)
        if found is not None and not found.get("deleted"):
            return found
    raise missing(kinds[0], id, param=name)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise invalid_parameter(name, f"Invalid string: {name}")
    if len(value) > _MAX_TEXT:
        raise invalid_parameter(
            name, f"Invalid string: {name} is longer than {_MAX_TEXT} characters", "string_too_long"
        )
    return value


def _count(lowest: int) -> Callable[[Any, str], int]:
    def read(value: Any, name: str) -> int:
        number = forms.integer(value, name)
        if number < lowest:
            raise invalid_parameter(
                name, f"This value must be greater than or equal to {lowest}.", "parameter_invalid_integer"
            )
        return number

    return read


def _decimal(value: Any, name: str) -> str:
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise invalid_parameter(name, f"Invalid decimal: {name}")
    return value


def _percent(value: Any, name: str) -> float:
    number = float(_decimal(value, name))
    if not 0 <= number <= 100:
        raise invalid_parameter(name, f"Invalid percent: {name} must be between 0 and 100")
    return number


def _currency(value: Any, name: str) -> str:
    text = _text(value, name).lower()
    if not re.fullmatch("[a-z]{3}", text, re.ASCII):
        raise invalid_parameter(name, f"Invalid currency: {text}.")
    return text


def _metadata(value: Any, name: str) -> dict[str, str]:
    if value == "":
        return {"": ""}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise invalid_parameter(name, f"Invalid object: {name}")
    if len(value) > _MAX_KEYS:
        raise invalid_parameter(name, f"Metadata has at most {_MAX_KEYS} keys.")
    for key, each in value.items():
        if len(key) > _MAX_KEY or len(each) > _MAX_VALUE:
            raise invalid_parameter(
                f"{name}[{key[:_MAX_KEY]}]",
                f"Metadata keys have at most {_MAX_KEY} characters, values at most {_MAX_VALUE}.",
            )
    return value


_SCALARS: dict[str, Callable[[Any, str], Any]] = {
    "text": lambda value, name: _text(value, name) or None,
    "texts": lambda value, name: [_text(each, name) for each in _array(value, name)],
    "integer": forms.integer,
    "count": _count(1),
    "amount": _count(0),
    "time": _count(0),
    "decimal": _decimal,
    "percent": _percent,
    "boolean": forms.boolean,
    "currency": _currency,
    "metadata": _metadata,
    "any": lambda value, name: value,
}
