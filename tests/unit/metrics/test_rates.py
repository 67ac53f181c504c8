"""Exchange rates of a file and of the bank."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from dagster_project.errors import SettingError
from dagster_project.metrics.install import write_rates
from dagster_project.metrics.rates import Rate, of_file, of_the_bank
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.schema import ensure


def test_a_file_says_rates_by_day_or_month(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("month,currency,to_currency,rate\n2026-02,EUR,usd,1.12\n2024-02,jpy,USD,0.0067\n")
    assert of_file(path) == [
        Rate("file", date(2026, 2, 28), "eur", "usd", Decimal("1.12")),
        Rate("file", date(2024, 2, 29), "jpy", "usd", Decimal("0.0067")),
    ]
    path.write_text("day,currency,to_currency,rate\n2026-02-11,eur,usd,1.5\n")
    assert of_file(path)[0].day == date(2026, 2, 11)


@pytest.mark.parametrize(
    "line",
    ["2026-13,eur,usd,1", "2026-02,euro,usd,1", "2026-02,eur,usd,0", "2026-02,eur,usd,-1", "2026-02,eur,usd,NaN",
     "2026-02,eur,usd,1.1234567890123", "2026-02,eur,usd,one", "2026-02,eur,usd", ",eur,usd,1"],
)  # fmt: skip
def test_a_line_that_is_no_rate_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(f"month,currency,to_currency,rate\n2026-01,eur,usd,1.1\n{line}\n")
    with pytest.raises(SettingError, match="line 3"):
        of_file(path)


def test_a_file_without_the_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("currency,rate\neur,1\n")
    with pytest.raises(SettingError, match="lacks columns"):
        of_file(path)


def test_the_bank_has_one_rate_per_month_and_currency() -> None:
    rates = list(of_the_bank())
    assert len({(rate.day.year, rate.day.month, rate.to_currency) for rate in rates}) == len(rates) > 8_000
    by_day = {(rate.day, rate.to_currency): rate.rate for rate in rates if rate.currency == "eur"}
    assert by_day[date(1999, 1, 29), "usd"] == Decimal("1.1384"), "https://www.ecb.europa.eu: euro reference rates"


def test_rates_are_replaced_only_when_they_change(tmp_path: Path) -> None:
    first = Rate("file", date(2026, 1, 31), "eur", "usd", Decimal("1.1"))
    with Warehouse(tmp_path).connect() as con:
        ensure(con)
        for given, left in (([first], 1), ([first], 1), ([], 0)):
            before = con.execute("select rowid, rate from sync.fx_rates").fetchall()
            write_rates(con, None, "file", given)
            after = con.execute("select rowid, rate from sync.fx_rates").fetchall()
            assert len(after) == left
            if before and left:
                assert after == before
