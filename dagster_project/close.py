"""The close package of a month: what finance files away, as CSV with a manifest of hashes.

Read from the published warehouse, so that the package and what analysts see are the same version.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from dagster_project.errors import WarehouseError
from dagster_project.settings import Settings

# File -> rows of one month. `?` is the first day of the month, twice where a range is meant.
TABLES: Mapping[str, tuple[str, int]] = {
    "mrr_rollforward": ("SELECT * FROM marts.rpt_mrr_rollforward WHERE month = ? ORDER BY ALL", 1),
    "balances": (
        "SELECT * FROM marts.fct_stripe_balance_daily WHERE day >= ? AND day < ?::DATE + INTERVAL 1 MONTH ORDER BY ALL",
        2,
    ),
    "payouts": (
        "SELECT * FROM marts.fct_payout"
        " WHERE arrival_date::DATE >= ? AND arrival_date::DATE < ?::DATE + INTERVAL 1 MONTH ORDER BY ALL",
        2,
    ),
    "journal_lines": (
        "SELECT * FROM marts.fct_journal_line WHERE date >= ? AND date < ?::DATE + INTERVAL 1 MONTH ORDER BY ALL",
        2,
    ),
}


def close_month(settings: Settings, month: date) -> Path:
    """Writes `<data>/close/<yyyy-mm>/` and returns it; running it again replaces the folder in one step.

    A table that the published warehouse does not have is left out and named in the manifest.
    Raises WarehouseError when nothing is published or the month is not over in the published data.
    """
    import duckdb

    from dagster_project.warehouse.connection import Warehouse, open_file
    from dagster_project.warehouse.publish import current

    publication = current(Warehouse(settings.data_dir))
    if publication is None:
        raise WarehouseError("Nothing is published yet.", "Run `ledgerline refresh`.")
    first = month.replace(day=1)
    following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    if publication.data_until.date() < following:
        raise WarehouseError(
            f"{first:%Y-%m} is not over: the published data ends at {publication.data_until:%Y-%m-%d %H:%M} UTC.",
            "Refresh after the month's end, then close it.",
        )
    folder = settings.data_dir / "close" / f"{first:%Y-%m}"
    draft = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    files, absent = {}, []
    with open_file(Path(publication.path), read_only=True) as con:
        for name, (query, months) in TABLES.items():
            target = draft / f"{name}.csv"
            try:
                con.execute(f"COPY ({query}) TO '{_quoted(target)}' (HEADER)", [first] * months)
            except (duckdb.CatalogException, duckdb.BinderException) as error:
                absent.append({"file": target.name, "reason": str(error).splitlines()[0]})
                continue
            files[target.name] = hashlib.sha256(target.read_bytes()).hexdigest()
    manifest = {
        "month": f"{first:%Y-%m}",
        "publication": publication.number,
        "data_until": publication.data_until.isoformat(),
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "sha256": files,
        "absent": absent,
    }
    (draft / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    replaced = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():
        folder.rename(replaced)
    draft.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)
    return folder


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
