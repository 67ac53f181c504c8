"""Parameters as Stripe takes them: form-encoded with brackets, in queries and bodies alike.

`a[b][0]=c` is {"a": {"b": ["c"]}}; `types[]=x&types[]=y` and `types[0]=x&types[1]=y` are lists.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from dagster_project.simulator.http.api_errors import (
    ApiError,
    invalid_parameter,
)

Params = dict[str, Any]

_KEY = re.compile(r"^([^\[\]]+)((?:\[[^\[\]]*\])*)$")
_PART = re.compile(r"\[([^\[\]]*)\]")
_DEPTH = 10


def parse(encoded: str) -> Params:
    """Nested parameters of a query string or form body. Raises ApiError 400 for keys that contradict each other."""
    tree: Params = {}
    for key, value in parse_qsl(encoded, keep_blank_values=True, errors="replace"):
        match = _KEY.match(key)
        if not match:
            raise ApiError(400, f"Invalid parameter name: {key}", param=key)
        parts = [match.group(1), *_PART.findall(match.group(2))]
        if len(parts) > _DEPTH:
            raise ApiError(400, f"Parameter is nested too deeply: {key}", param=parts[0])
        _put(tree, parts, value, parts[0])
    return {name: _lists(value) for name, value in tree.items()}


def _put(node: Params, parts: list[str], value: str, param: str) -> None:
    for part in parts[:-1]:
        node = node.setdefault(part or str(len(node)), {})
        if not isinstance(node, dict):
            raise invalid_parameter(param, f"Invalid hash or array: {param}")
    last = parts[-1] or str(len(node))
    if isinstance(node.get(last), dict):
        raise invalid_parameter(param, f"Invalid hash or array: {param}")
    node[last] = value


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    values = {key: _lists(value) for key, value in node.items()}
    if values and all(key.isascii() and key.isdigit() for key in values):
        return [values[key] for key in sorted(values, key=int)]
    return values


def text(params: Params, name: str) -> str | None:
    value = params.get(name)
    if value is None or isinstance(value, str):
        return value
    raise invalid_parameter(name, f"Invalid string: {value}")


def texts(params: Params, name: str) -> list[str]:
    value = params.get(name, [])
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in values):
        raise invalid_parameter(name, f"Invalid array: {name}")
    return values


def integer(value: Any, param: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value, re.ASCII):
        return int(value)
    raise invalid_parameter(param, f"Invalid integer: {value}", "parameter_invalid_integer")


def boolean(value: Any, param: str) -> bool:
    if value in ("true", "false"):
        return bool(value == "true")
    raise invalid_parameter(param, f"Invalid boolean: {value}")
