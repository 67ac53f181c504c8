"""The catalogue against the installed SDK: a missing or mistyped row shows here."""

import re
from pathlib import Path

import pytest
import stripe
import yaml
from stripe._object_classes import get_object_class

from dagster_project.errors import UsageError
from dagster_project.stripe_api import catalog
from dagster_project.stripe_api.catalog import CATALOGUE

SDK = Path(stripe.__file__).parent
NOT_READ = yaml.safe_load((Path(catalog.__file__).parent / "not_read.yaml").read_text())


def sdk_lists() -> set[str]:
    """The paths of every `list` method of the SDK's v1 services."""
    paths = set()
    for file in SDK.rglob("*_service.py"):
        for method in re.finditer(r"    def list\(.*?(?=\n    (?:async )?def |\Z)", file.read_text(), re.S):
            if path := re.search(r'"(/v1/[^"]+)"', method.group(0)):
                paths.add(re.sub(r"\{[^}]*\}", "{parent}", path.group(1)))
    return paths


def sdk_event_types() -> set[str]:
    source = (SDK / "params" / "_webhook_endpoint_create_params.py").read_text()
    listed = re.search(r"enabled_events: List\[.*?Literal\[(.*?)\]", source, re.S) or re.search(
        r"enabled_events.*?Literal\[(.*?)\]", source, re.S
    )
    assert listed is not None
    return set(re.findall(r'"([a-z0-9_.]+)"', listed.group(1)))


def without_reason(names: set[str], reasons: dict[str, list[str]]) -> list[str]:
    prefixes = tuple(prefix for group in reasons.values() for prefix in group)
    return sorted(name for name in names if not name.startswith(prefixes))


def test_every_list_of_the_sdk_is_read_or_says_why_not() -> None:
    lists = sdk_lists()
    assert len(lists) == 120
    read = {row.path for row in CATALOGUE.values()}
    assert without_reason(lists - read, NOT_READ["lists"]) == []


def test_every_path_of_the_catalogue_is_a_list_of_the_sdk() -> None:
    assert {row.path for row in CATALOGUE.values() if row.path} - sdk_lists() == {"/v1/balance"}


def test_every_event_type_of_the_sdk_marks_an_object_or_says_why_not() -> None:
    types = sdk_event_types()
    assert len(types) == 275
    announced = {name for name in types if any(row.announces(name) for row in CATALOGUE.values())}
    assert without_reason(types - announced, NOT_READ["events"]) == []


def test_every_event_prefix_of_the_catalogue_is_one_of_the_sdk() -> None:
    types = sdk_event_types()
    unknown = [
        (row.name, prefix)
        for row in CATALOGUE.values()
        for prefix in row.events
        if not any(name.startswith(prefix) for name in types)
    ]
    assert unknown == []


@pytest.mark.parametrize("prefix", [p for group in NOT_READ.values() for r in group.values() for p in r])
def test_no_reason_is_left_over(prefix: str) -> None:
    assert any(name.startswith(prefix) for name in sdk_lists() | sdk_event_types())


def test_the_pinned_version_is_the_one_of_the_sdk() -> None:
    assert stripe.api_version == catalog.API_VERSION


@pytest.mark.parametrize("name", CATALOGUE)
def test_columns_are_those_of_the_sdks_type(name: str) -> None:
    """Every column is an attribute of the SDK's resource, and every attribute is a column."""
    expected: set[str] = set()
    for kind in CATALOGUE[name].kinds:
        resource = get_object_class("V1", kind)
        expected |= {a for a in resource.__annotations__ if not a.startswith("_")}
    expected -= {"deleted", "livemode", "OBJECT_NAME"}
    columns = {column.name for column in catalog.columns(name)}
    assert columns - {"id"} == expected - {"id"}


@pytest.mark.parametrize("name", [n for n, row in CATALOGUE.items() if row.strategy == "window"])
def test_objects_read_by_window_have_the_time_they_are_cut_by(name: str) -> None:
    row = CATALOGUE[name]
    assert ("time", row.created_field) in {(c.type, c.name) for c in catalog.columns(name)}


def test_money_columns_are_integers_and_nothing_is_floating() -> None:
    money = re.compile(r"^(amount.*|fee|net|total|subtotal|balance|starting_balance|ending_balance|unit_amount)$")
    wrong = [
        (name, column.name, column.type)
        for name in CATALOGUE
        for column in catalog.columns(name)
        if money.match(column.name) and column.type not in ("bigint", "json", "ref", "decimal")
    ]
    assert wrong == []
    assert {c.duckdb_type for name in CATALOGUE for c in catalog.columns(name)}.isdisjoint({"DOUBLE", "FLOAT"})


def test_every_column_is_described() -> None:
    assert all(column.description for name in CATALOGUE for column in catalog.columns(name))


def test_parents_come_before_the_objects_that_ask_them() -> None:
    order = list(CATALOGUE)
    for row in CATALOGUE.values():
        for parent in [row.parent] if row.parent else []:
            assert order.index(parent) < order.index(row.name), row.name


def test_an_unknown_object_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UsageError, match="chargs.*charges"):
        catalog.get("chargs")
