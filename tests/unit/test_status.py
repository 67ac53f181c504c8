"""The one screen of `ledgerline status`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dagster_project import status, terminal
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.schema import ensure
from dagster_project.warehouse.state import write_cursor

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_what_an_interrupted_run_left_is_named(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    with warehouse.connect() as con:
        ensure(con)
        owed = {"ranges": [[1_700_000_000, 1_700_086_400]], "ids": {"ch_1": None}}
        write_cursor(con, "charges", "acct_1", False, {"high": 1, "listed": 1, "owed": owed})
        write_cursor(con, "refunds", "acct_1", False, {"high": 1, "listed": 1})
        write_cursor(con, "quotes", "acct_1", False, {"high": 1, "listed": 1, "owed": {"after": "qt_9"}})
    rows = {row["object"]: row for row in status.owed(warehouse)}
    assert set(rows) == {"charges", "quotes"}
    assert rows["charges"]["ranges"] == [[1_700_000_000, 1_700_086_400]] and rows["charges"]["ids"] == 1
    assert rows["quotes"]["rest_of_list"]


def test_nothing_is_owed_where_there_is_no_warehouse(tmp_path: Path) -> None:
    assert status.owed(Warehouse(tmp_path)) == []


@pytest.mark.parametrize(("part", "shown"), [(0, "0 %"), (1, "0.1 %"), (500_000, "50.0 %"), (999_999, "99.9 %")])
def test_a_share_is_all_or_nothing_only_when_it_is(part: int, shown: str) -> None:
    assert status._share(part, 1_000_000) == shown
    assert status._share(1_000_000, 1_000_000) == "100 %"


def test_the_age_reads_well() -> None:
    now = datetime.now(UTC)
    ages = [timedelta(seconds=5), timedelta(minutes=1.5), timedelta(minutes=90), timedelta(hours=30), timedelta(days=5)]
    assert [status.ago(now - age) for age in ages] == [
        "just now", "1 minute ago", "90 minutes ago", "30 hours ago", "5 days ago",
    ]  # fmt: skip


def report(**values: Any) -> dict[str, Any]:
    known = dict.fromkeys(status.STATES, 0)
    return {
        "ok": False,
        "publication": {"number": 3, "published_at": datetime.now(UTC), "data_until": NOW},
        "accounts": [{"account_id": "acct_1", "livemode": True, "synced_until": NOW}],
        "reads": [{"who": "acct_1", "livemode": True, "used": 1_200, "allowed": 10_000, "projected": 2_400}],
        "completeness": [
            {"object": "charges", **known, "proven": 970, "open": 29, "different": 1, "bad_days": 1},
            {"object": "refunds", **known, "proven": 50, "bad_days": 0},
        ],
        "balance": [],
        "exponents": {},
        "objects": [
            {"object": "payouts", "state": "not_permitted", "message": "", "next_step": "Set Payouts to Read."},
            {"object": "topups", "state": "not_permitted", "message": "", "next_step": "Set Payouts to Read."},
        ],
        "owed": [
            {"object": "charges", "account_id": "acct_1", "ranges": [[0, 2**40]], "ids": 4, "rest_of_list": False}
        ],
        "unknown": [
            {"object": "events", "what": "type a.b", "rows": 2, "first_seen": NOW, "last_seen": NOW, "example": "evt_1"}
        ],
        "exceptions": [],
        "waiting": {"webhooks": 7, "effects": []},
        **values,
    }  # fmt: skip


def test_one_screen_says_how_old_how_complete_what_lacks_and_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(width=100, highlight=False, soft_wrap=True)
    monkeypatch.setattr(terminal, "console", console)
    with console.capture() as captured:
        status.show_status(report())
    text = captured.get()
    lines = text.splitlines()
    assert len(lines) < 40 and max(map(len, lines)) <= 100
    assert lines[0].startswith("Version 3, published just now, data until 2026-11-24 12:00 UTC")
    assert lines[2].split() == ["acct_1", "live", "2026-11-24", "12:00", "UTC", "1,200", "10,000", "2,400"]
    assert "Completeness: 97.1 % proven, 2.8 % open, 0.1 % different, 0 % gapped, 0 % not permitted" in text
    [charges] = [line.split() for line in lines if line.startswith("charges ") and "%" in line]
    assert charges == ["charges", "1,000", "97.0", "%", "2.9", "%", "0.1", "%"]
    assert not any(line.startswith("refunds") for line in lines), "what is proven needs no line"
    assert "Not permitted: payouts, topups\n  Next: Set Payouts to Read." in text
    [owed] = [line.split() for line in lines if "to now" in line]
    assert owed == ["charges", "acct_1", "1970-01-01", "to", "now", "4"]
    assert "type a.b" in text and "evt_1" in text
    assert "7 webhooks wait for the next refresh." in text
    assert lines[-1] == "Something needs a person: see above."


def test_all_is_well_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(width=100, highlight=False, soft_wrap=True)
    monkeypatch.setattr(terminal, "console", console)
    with console.capture() as captured:
        status.show_status(report(ok=True, objects=[], owed=[], unknown=[]))
    assert captured.get().splitlines()[-1] == "All is well."
