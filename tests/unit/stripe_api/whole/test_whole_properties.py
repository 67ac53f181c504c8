"""Random lives of an account: whatever happens, and however it is read, the warehouse ends equal to Stripe.

`LEDGERLINE_TEST_EXAMPLES` sets how many lives are tried; without it there are few, always the same ones.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from whole.deeds import DEEDS, do
from whole.following import Following
from whole.local_stripe import LocalStripe
from whole.same import unequal
from whole.truth import UNTIL_SWEPT

EXAMPLES = int(os.environ.get("LEDGERLINE_TEST_EXAMPLES", "0"))
HOUR, DAY = 3600, 86_400
# Seconds (of this machine) for which new rows and events stay out of sight.
LATE = 0.3

Reading = Literal["refresh", "some", "full", "killed", "restarted", "rebuilt"]
TROUBLES: dict[str, dict[str, Any]] = {
    "none": {},
    "rows appear late": {"late_rate": 0.6, "late_seconds": LATE},
    "events appear late": {"event_lag_s": LATE},
    "events repeat in any order": {"event_twice_rate": 0.5, "event_shuffle_rate": 0.7},
    "answers fail": {"error_rate": 0.1, "reset_rate": 0.05, "truncate_rate": 0.05},
    "answers are refused": {"resource_limit_rate": 0.1, "lock_timeout_rate": 0.1, "endpoint_rate_limit": 40},
    "all at once": {
        "late_rate": 0.3, "late_seconds": LATE, "event_lag_s": LATE, "event_twice_rate": 0.3,
        "event_shuffle_rate": 0.3, "error_rate": 0.05, "reset_rate": 0.03, "truncate_rate": 0.03,
        "lock_timeout_rate": 0.05,
    },
}  # fmt: skip


@dataclass
class Round:
    """People do `deeds` under a `trouble`; time passes; the account is read somehow; people do some more."""

    trouble: str
    deeds: list[tuple[str, int, int]]  # name, whom, seconds afterwards
    passes: int
    reading: Reading
    more: list[tuple[str, int, int]] = field(default_factory=list)


deeds = st.tuples(st.sampled_from(sorted(DEEDS)), st.integers(0, 30), st.sampled_from([0, 0, 0, 1, 70]))
rounds = st.builds(
    Round,
    trouble=st.sampled_from(sorted(TROUBLES)),
    deeds=st.lists(deeds, min_size=2, max_size=12),
    passes=st.sampled_from([0, 1, 5, HOUR, 7 * HOUR, DAY, 5 * DAY, 33 * DAY]),
    reading=st.sampled_from(["refresh", "refresh", "some", "full", "killed", "restarted", "rebuilt"]),
    more=st.lists(deeds, max_size=4),
)
lives = st.lists(rounds, min_size=1, max_size=3 if not EXAMPLES else 5)


@pytest.mark.timeout(3600)
@settings(
    max_examples=EXAMPLES or 3,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # a smaller life takes as long to try as a large one
    suppress_health_check=list(HealthCheck),
)
@given(life=lives)
def test_whatever_happens_the_warehouse_ends_equal_to_stripe(
    life: list[Round], read_once: Path, empty_warehouse: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("life")
    shutil.copytree(read_once, folder, dirs_exist_ok=True)
    local = LocalStripe(folder / "state.sqlite")
    try:
        following = Following(local, folder / "data", empty_warehouse)
        following.since = local.now
        for number, each in enumerate(life):
            live(following, each)
            assert following.differences(swept=False) == [], f"after round {number}"
        ends_equal_however_it_is_read(following, folder)
    finally:
        local.stop()
        shutil.rmtree(folder)


def live(following: Following, each: Round) -> None:
    local = following.stripe
    faults = TROUBLES[each.trouble]
    local.control("faults", {"error_rate": 0, **faults})
    # Deeds must happen; only what is read meets the trouble of answers.
    spared = {name: None if name.endswith("_limit") else 0 for name in faults if not name.startswith(("late", "event"))}
    local.control("faults", spared)
    for name, whom, seconds in each.deeds:
        note(f"{name} {whom}: {do(local, name, whom)}")
        if seconds:
            local.advance(seconds)
    if each.passes > 60:
        appeared(each)  # what is late by seconds must not become late by hours of Stripe's time
    local.advance(each.passes)
    if each.passes > 60:
        appeared(each)
    gap = each.passes > 29 * DAY
    told = False
    local.control("faults", faults or {"error_rate": 0})
    match each.reading:
        case "refresh":
            told = loud(following.refresh().problems)
        case "some":
            following.refresh(objects=["customers", "subscriptions"])
        case "full":
            following.refresh(mode="full")
            gap = False
        case "killed":
            moment = time.monotonic() + 0.02 * (1 + len(each.deeds))
            following.killed(lambda: time.monotonic() > moment)
            gap = False  # the killed one may have got far enough
        case "restarted":
            local.restart()
        case "rebuilt":
            following.rebuild()
    local.control("faults", method="DELETE")
    for name, whom, seconds in each.more:
        do(local, name, whom)
        if seconds:
            local.advance(seconds)
    appeared(each)
    local.advance(1)
    problems = following.refresh().problems
    assert [problem for problem in problems if "read again" not in problem] == [], f"{problems}"
    assert not gap or told or loud(problems), "a gap of more than 30 days was not told"


def appeared(each: Round) -> None:
    if "late" in each.trouble or each.trouble == "all at once":
        time.sleep(LATE)


def loud(problems: list[str]) -> bool:
    return any("read again" in problem for problem in problems)


def ends_equal_however_it_is_read(following: Following, folder: Path) -> None:
    """Swept, read anew beside it, read whole, and rebuilt from landing."""
    following.stripe.advance(UNTIL_SWEPT)
    assert following.refresh().problems == []
    wrong = following.differences()
    assert wrong == [], f"{wrong}"
    kept = following.copied(folder / "kept")
    fresh = following.beside("fresh")
    more = [
        what for what in unequal(kept, fresh.warehouse, only_living=True, history=False) if "in one alone" not in what
    ]
    assert more == [], f"a first reading has what the refreshed warehouse lacks: {more}"
    assert following.refresh(mode="full").problems == []
    other = unequal(kept, following.warehouse)
    assert other == [], f"read whole it is another one: {other}"
    following.rebuild()
    other = unequal(kept, following.warehouse)
    assert other == [], f"the rebuilt warehouse is another one: {other}"
