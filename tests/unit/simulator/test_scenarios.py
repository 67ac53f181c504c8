"""Which business is asked for, and what cannot be simulated."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dagster_project.errors import UsageError
from dagster_project.simulator.engine import scenarios
from dagster_project.simulator.http.server import serve


def test_what_is_left_open_is_the_demo() -> None:
    assert scenarios.completed({"seed": None}) == {"scenario": "saas", "seed": 7, "customers": 1500, "months": 24}
    assert scenarios.completed({"scenario": "flat", "seed": 3}) == {
        "scenario": "flat", "seed": 3, "objects": 1_000_000, "months": 24,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "cause", "next_step"),
    [
        ({"scenario": "bank"}, "no scenario 'bank'", "saas, .*flat"),
        ({"customers": 9}, "customers 9 cannot", "at least 10 and at most 20,000"),
        ({"customers": 20_001}, "customers 20,001 cannot", "at most 20,000"),
        ({"months": 0}, "months 0 cannot", "at least 1 and at most 120"),
        ({"seed": -1}, "seed -1 cannot", "at least 0"),
        ({"scenario": "flat", "objects": 10}, "objects 10 cannot", "at least 1,000"),
        ({"scenario": "flat", "customers": 50}, "sized by objects", "--objects"),
        ({"objects": 5000}, "sized by customers", "--customers.*--scenario flat"),
    ],
)
def test_what_cannot_be_simulated_is_refused_before_anything_is_made(
    tmp_path: Any, asked: dict[str, Any], cause: str, next_step: str
) -> None:
    with pytest.raises(UsageError, match=cause) as refused:
        serve(tmp_path, port=0, business=asked)
    assert re.search(next_step, refused.value.next_step)
    assert refused.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_only_what_was_said_can_differ() -> None:
    has = scenarios.completed({"customers": 20})
    assert not scenarios.differs({}, has)
    assert not scenarios.differs({"customers": 20, "scenario": "saas"}, has)
    assert scenarios.differs({"customers": 21}, has)
    assert scenarios.differs({"scenario": "flat"}, has)
