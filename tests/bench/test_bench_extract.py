"""`ledgerline bench extract` at a tiny size: every part runs, what it brings is whole, and it can tell if it is not."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dagster_project.bench.extract.incremental import _pages_over
from dagster_project.bench.extract.local import local_stripe
from dagster_project.bench.extract.measured import synchronised
from dagster_project.bench.extract.truth import differences, least_seconds, truth_of
from dagster_project.bench.figures import Figure
from dagster_project.warehouse.connection import Warehouse

ALWAYS_ZERO = ("differences from the truth", "not in the warehouse", "problems told")


@pytest.fixture(scope="module")
def figures() -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "dagster_project", "bench", "extract", "--scale", "0.002", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "LEDGERLINE_LEAVE_FOR_OTHERS": "5"},
    )
    assert done.returncode in (0, 1), done.stderr
    assert "SCALED" in done.stderr
    return json.loads(done.stdout)


def test_every_part_is_measured_in_one_run_and_marked_as_scaled(figures):
    said = "\n".join(figure["what"] for figure in figures)
    for part in (
        "one type",
        "all types",
        "10 % 500s",
        "nothing changed",
        "of 4 types",
        "of 1 type",
        "plain SDK",
        "dlt",
    ):
        assert part in said
    assert all("SCALED" in figure["benchmark"] for figure in figures)


def test_what_it_brings_is_whole_under_faults_too(figures):
    zero = [figure for figure in figures if figure["what"].endswith(ALWAYS_ZERO)]
    assert len(zero) >= 7
    assert [figure for figure in zero if figure["value"] != 0] == []


def test_what_was_not_run_is_never_met(figures):
    for figure in figures:
        assert (figure["value"] is None) == figure["note"].startswith("not run")
        if figure["value"] is None:
            assert figure["met"] is None


def test_a_figure_is_met_on_the_good_side_of_its_limit():
    assert Figure("b", "w", 1.0, 2.0, "s").met
    assert not Figure("b", "w", 3.0, 2.0, "s").met
    assert Figure("b", "w", 3.0, 2.0, "/s", "more").met
    assert Figure("b", "w", 3.0, None, "s").met is None
    assert Figure("b", "w", None, 2.0, "s").met is None


def test_the_truth_shows_a_row_that_is_missing_one_that_is_changed_and_one_too_many(tmp_path: Path):
    with local_stripe(tmp_path / "stripe", scenario="flat", objects=1_000, months=1) as stripe:
        truth = truth_of(stripe)
        data = tmp_path / "data"
        run = synchronised(stripe, data, paced=False, mode="full")
    assert (run.problems, differences(truth, data)) == ((), [])
    with Warehouse(data).connect() as con:
        con.execute("delete from stripe.refunds where id = (select min(id) from stripe.refunds)")
        con.execute(
            'update stripe.customers set _payload = json_merge_patch(_payload, \'{"name": "?"}\') '
            "where id = (select min(id) from stripe.customers)"
        )
        con.execute(
            "insert into stripe.charges by name select * replace ('ch_made_up' as id) from stripe.charges limit 1"
        )
    found = "\n".join(differences(truth, data))
    assert "refunds: 1 missing" in found
    assert "customers: 1 of other content" in found
    assert "charges: 1 not at Stripe (ch_made_up)" in found


def test_the_least_time_is_that_of_the_tighter_limit():
    assert least_seconds(Counter(a=1000, b=500, c=500, d=500), 100, 25) == 40
    assert least_seconds({f"list {n}": 100 for n in range(10)}, 100, 25) == 10


def test_no_fewer_pages_cover_the_changed_objects():
    dice = random.Random(1)
    for _ in range(50):
        places = sorted(dice.sample(range(2_000), dice.randint(0, 30)))
        found = len(list(_pages_over(places)))
        # Two that lie further apart than a page can never share one: so many there are, so many pages it takes.
        apart: list[int] = []
        for place in reversed(places):
            if not apart or apart[-1] - place >= 100:
                apart.append(place)
        assert found == len(apart)


def test_a_part_that_does_not_exist_is_refused_with_those_that_do():
    done = subprocess.run(
        [sys.executable, "-m", "dagster_project", "bench", "extract", "--only", "everything"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "backfill, incremental, faults, peers" in done.stderr + done.stdout
