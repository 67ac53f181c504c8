"""Worked cases through the command line: what passes, what differs, what is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dagster_project.cli.project import golden

CASES = Path(__file__).with_name("mrr_cases.json")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(golden, arguments, standalone_mode=False)


@pytest.mark.parametrize("feed", ["events", "versions"])
def test_every_case_gives_its_numbers_however_history_arrives(feed: str) -> None:
    done = run(str(CASES), "--feed", feed)
    assert done.return_value == 0, done.output
    assert done.output.count("passed  ") == 34 and "34 passed, 0 failed" in done.output


def test_a_wrong_number_of_any_kind_is_told(tmp_path: Path) -> None:
    data = json.loads(CASES.read_text())
    first, third = data["cases"][0], data["cases"][2]
    first["expected"]["cus_seats"]["mrr"]["2026-02"] = 2801
    first["expected"]["cus_seats"]["movements"]["2026-03"][0]["amount"] = -2799
    first["portfolio_expected"]["2026-02"]["customers"] = 3
    first["expected_major"]["2026-02"] = "69.68"
    third["local_expected"]["cus_eur"]["eur"][1] = 7
    data["cases"] = [first, third]
    data["metric_cases"][1]["expected"]["grr"] = "0.76"
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(data))
    done = run(str(path))
    assert done.return_value == 1
    for line in (
        "cus_seats mrr 2026-02: expected 2801, actual 2800",
        "cus_seats movement 2026-03 churn: expected -2799, actual -2800",
        "portfolio 2026-02 customers: expected 3, actual 2", "major units 2026-02: expected 69.68, actual 69.67",
        "cus_eur eur 2026-02: expected 7, actual 1000", "grr: expected 0.76, actual 0.75",
    ):  # fmt: skip
        assert line in done.output
    assert done.output.endswith("3 failed\n")


def change(data: Any, path: list[Any], value: Any) -> Any:
    changed = copy.deepcopy(data)
    part = changed
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["surprise"], 1, "surprise"),
        (["cases", 0, "moths"], [], "moths"),
        (["cases", 0, "prices", "seat", "unit_price"], 1, "unit_price"),
        (["cases", 0, "customers", 0, "subscriptions", 0, "timeline", 0, "state"], 1, "state"),
        (["cases", 0, "customers", 0, "subscriptions", 0, "timeline", 0, "items", 0, "price"], "none", "none"),
        (["cases", 1, "customers", 0, "discount", "coupon"], "none", "none"),
        (["cases", 0, "variants", 0, "policy"], {"churn": "now"}, "churn"),
        (["default_policy", "fx"], "guess", "guess"),
        (["cases", 0, "id"], "G02", "G02"),
        (["metric_cases", 0, "formula"], 1, "formula"),
    ],
)
def test_what_the_format_does_not_know_is_an_error_that_names_it(
    tmp_path: Path, path: list[Any], value: Any, says: str
) -> None:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(change(json.loads(CASES.read_text()), path, value)))
    done = run(str(file))
    assert done.exception is not None and says in str(done.exception)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cases": [{"id": "R1", "balance_transactions": []}]}'])
def test_a_file_that_holds_no_mrr_cases_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cases.json"
    file.write_text(text)
    done = run(str(file))
    assert done.exception is not None and str(file) in str(done.exception)
