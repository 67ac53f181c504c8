"""["warehouse", "published"]: the version that readers see, and what its page in the UI shows.

How a version is made and switched is in `warehouse/publish.py`.
"""

import base64
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_project.errors import WarehouseError
from dagster_project.orchestration.extract import OWNERS
from dagster_project.orchestration.models import PUBLISHED_SCHEMAS, model_keys
from dagster_project.orchestration.pools import DUCKDB_WRITE
from dagster_project.orchestration.resources import Pipeline
from dagster_project.orchestration.tables import stripe_key
from dagster_project.stripe_api.catalog import CATALOGUE

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from dagster_project.warehouse.publish import Publication

PUBLISHED = dg.AssetKey(["warehouse", "published"])
OPENS = "opens_with_all_marts"


def build_published(models: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """The publication, after every mart and outcome of `models`."""
    tables = model_keys(models, *PUBLISHED_SCHEMAS)

    @dg.asset(
        key=PUBLISHED,
        deps=[*tables, *(stripe_key(name) for name in CATALOGUE)],
        group_name="warehouse",
        owners=OWNERS,
        kinds={"duckdb"},
        description="The version that analysts, BI tools and notebooks open: `warehouse.duckdb` in the data directory.",
        pool=DUCKDB_WRITE,
        check_specs=[
            dg.AssetCheckSpec(
                OPENS,
                asset=PUBLISHED,
                blocking=True,
                description="It opens read-only and every mart and outcome is in it.",
            )
        ],
    )
    def published(context: dg.AssetExecutionContext, ledgerline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
        publication = _publish(ledgerline)
        missing, metadata = _describe(publication, tables)
        return dg.MaterializeResult(
            metadata=metadata,
            check_results=[
                dg.AssetCheckResult(
                    check_name=OPENS,
                    passed=not missing,
                    description=f"Missing: {', '.join(missing)}." if missing else None,
                    metadata={"tables expected": len(tables)},
                )
            ],
        )

    return published


def _publish(ledgerline: Pipeline) -> "Publication":
    from dagster_project.activation.copy import copy_to_warehouse
    from dagster_project.warehouse.load import load_version
    from dagster_project.warehouse.publish import publish
    from dagster_project.warehouse.state import built_version

    with ledgerline.warehouse.connect() as con, ledgerline.ops() as engine:
        if built_version(con) != load_version(con):
            raise WarehouseError(
                "The build warehouse holds rows that its models have not seen, so nothing was published.",
                "Run `ledgerline refresh`, which builds the models first.",
            )
        copy_to_warehouse(con, engine)
        data_until = _data_until(con)
    return publish(ledgerline.warehouse, data_until=data_until)


def _data_until(con: "DuckDBPyConnection") -> datetime:
    """Until when all accounts are known, on Stripe's clock."""
    found = con.execute("SELECT min(synced_until) FROM sync.accounts").fetchone()
    if not found or found[0] is None:
        raise WarehouseError("The build warehouse knows no account yet.", "Run `ledgerline backfill`.")
    moment: datetime = found[0]
    return moment


def _describe(publication: "Publication", tables: Iterable[dg.AssetKey]) -> tuple[list[str], dict[str, Any]]:
    """The expected tables that are missing, and the metadata of the version."""
    from dagster_project.warehouse.connection import open_file

    path = Path(publication.path)
    with open_file(path, read_only=True) as con:
        found = {
            f"{schema}.{table}"
            for schema, table in con.execute(
                "SELECT table_schema, table_name FROM information_schema.tables"
            ).fetchall()
        }
        missing = [name for key in tables if (name := ".".join(key.path)) not in found]
        metadata: dict[str, Any] = {
            "number": publication.number,
            "size in MB": round(path.stat().st_size / 1e6, 1),
            "published at": dg.MetadataValue.timestamp(publication.published_at),
            "data until": dg.MetadataValue.timestamp(publication.data_until),
            "checksum": str(publication.checksum),
            "path": dg.MetadataValue.path(str(path)),
        }
        if "marts.rpt_mrr_rollforward" in found:
            metadata |= _headline(con)
    return missing, metadata


def _headline(con: "DuckDBPyConnection") -> dict[str, Any]:
    """The newest months of the roll-forward, a table of all currencies and a chart of each. Empty before any month."""
    rows = con.execute(
        "SELECT currency, month, CAST(sum(opening) AS BIGINT), CAST(sum(closing) AS BIGINT)"
        " FROM marts.rpt_mrr_rollforward WHERE basis = 'local'"
        " GROUP BY currency, month ORDER BY currency, month"
    ).fetchall()
    by_currency: dict[str, list[tuple[str, int, int]]] = {}
    for currency, month, opening, closing in rows:
        by_currency.setdefault(currency, []).append((f"{month:%Y-%m}", opening, closing))
    if not by_currency:
        return {}
    table = "| currency | month | MRR at the end, minor units | change |\n|---|---|---:|---:|\n" + "\n".join(
        f"| {currency} | {month} | {closing:,} | {closing - opening:+,} |"
        for currency, months in by_currency.items()
        for month, opening, closing in months[-1:]
    )
    charts = "\n\n".join(
        f"{currency}\n\n{_bars([(month, closing) for month, _, closing in months[-24:]])}"
        for currency, months in by_currency.items()
    )
    latest = {f"MRR {currency} (minor units)": months[-1][2] for currency, months in by_currency.items()}
    return {**latest, "headline": dg.MetadataValue.md(table), "MRR by month": dg.MetadataValue.md(charts)}


def _bars(values: list[tuple[str, int]]) -> str:
    """A bar per month as an SVG picture in markdown, since the UI draws pictures given as data."""
    width, height, top = 24, 140, max((value for _, value in values), default=0) or 1
    bars = []
    for position, (month, value) in enumerate(values):
        tall = max(1, round(value / top * (height - 20)))
        bars.append(
            f"<rect x='{position * width + 2}' y='{height - tall}' width='{width - 4}' height='{tall}' fill='#4f46e5'>"
            f"<title>{month}: {value:,}</title></rect>"
        )
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{len(values) * width}' height='{height + 16}'>{''.join(bars)}"
        f"<text x='0' y='{height + 12}' font-family='sans-serif' font-size='10'>"
        f"{values[0][0]} – {values[-1][0]}</text></svg>"
    )
    return f"![MRR by month](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
