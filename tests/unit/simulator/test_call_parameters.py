"""Stripe's own client is the oracle: each call and each of its parameters is one that the SDK knows."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import stripe

from dagster_project.simulator.http.mutations import Mutation, mutations
from dagster_project.simulator.http.parameters import _SCALARS

SDK = Path(stripe.__file__).parent
_WORD = re.compile(r"\w+")


@cache
def routes() -> dict[tuple[str, str], str]:
    """(method, path with {id}) of every call of the SDK -> the class of its parameters."""
    found = {}
    for file in SDK.rglob("_*_service.py"):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            params = next((arg.annotation for arg in function.args.args if arg.arg == "params"), None)
            strings = [
                node.value
                for call in ast.walk(function)
                if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "_request"
                for node in ast.walk(call)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
            path = next((text for text in strings if text.startswith("/v1/")), None)
            if path and params is not None:
                named = re.search(r"\w+Params", ast.unparse(params))
                assert named
                area = file.parent.relative_to(SDK).as_posix()  # names of parameters are unique within an area only
                found[strings[0].upper(), re.sub(r"{[^}]*}", "{id}", path)] = f"{area}/{named.group()}"
    return found


@cache
def _classes(area: str) -> dict[str, dict[str, str]]:
    """Class of parameters, or of a hash inside one -> parameter -> its annotation."""
    found: dict[str, dict[str, str]] = {}
    for file in (SDK / "params" / area).glob("_*_params.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found[node.name] = {
                    part.target.id: ast.unparse(part.annotation)
                    for part in node.body
                    if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
                }
            elif isinstance(node, ast.Assign) and isinstance(
                node.targets[0], ast.Name
            ):  # names that are no identifiers
                found[node.targets[0].id] = _functional(node.value)
    return found


def _functional(value: ast.expr) -> dict[str, str]:
    hashes = [node for node in ast.walk(value) if isinstance(node, ast.Dict)]
    return {
        str(key.value): ast.unparse(kind)
        for node in hashes[:1]
        for key, kind in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant)
    }


def unknown(takes: dict[str, Any], params: str, within: str = "") -> list[str]:
    """The parameters that the SDK does not have."""
    area, _, name_of_class = params.rpartition("/")
    known = _classes(area)[name_of_class]
    found = []
    for name, kind in takes.items():
        plain = name.removesuffix("!")
        full = f"{within}[{plain}]" if within else plain
        if plain not in known:
            found.append(full)
            continue
        inner = kind[0] if isinstance(kind, list) and kind and isinstance(kind[0], dict) else kind
        if isinstance(inner, dict):
            inner = inner.get("*", inner)  # a hash whose keys the caller chooses
            hashes = [word for word in _WORD.findall(known[plain]) if word in _classes(area)]
            if not hashes:
                found.append(f"{full} is no hash")
                continue
            found += min((unknown(inner, f"{area}/{word}", full) for word in hashes), key=len)
        elif isinstance(kind, list):
            literals = re.findall(r"'(\w+)'", known[plain])
            found += [f"{full}={word}" for word in kind if literals and word not in literals]
    return found


@pytest.mark.parametrize("mutation", mutations(), ids=lambda mutation: f"{mutation.method} {mutation.path}")
def test_a_call_and_its_parameters_are_the_sdks(mutation: Mutation) -> None:
    params = routes().get((mutation.method, mutation.path))
    assert params is not None, "the SDK has no such call"
    assert unknown(dict(mutation.takes), params) == []


def test_the_oracle_finds_a_parameter_that_does_not_exist() -> None:
    assert unknown({"name": "text", "colour": "text", "address": {"planet": "text"}}, "CustomerCreateParams") == [
        "colour",
        "address[planet]",
    ]
    assert unknown({"tax_exempt": ["none", "sometimes"]}, "CustomerCreateParams") == ["tax_exempt=sometimes"]
    assert len(routes()) > 400


def test_every_type_of_a_parameter_is_one_that_is_read() -> None:
    words = set()

    def collect(kind: Any) -> None:
        if isinstance(kind, dict):
            for each in kind.values():
                collect(each)
        elif isinstance(kind, list) and kind and isinstance(kind[0], dict):
            collect(kind[0])
        elif isinstance(kind, str):
            words.add(kind.split()[0])

    for mutation in mutations():
        collect(dict(mutation.takes))
    assert words <= {*_SCALARS, "id", "ids"}
