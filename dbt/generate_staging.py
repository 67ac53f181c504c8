"""Writes models/staging from Stripe's catalogue: a view per object that renames and casts, nothing else.

Run `python dbt/generate_staging.py` after a change of the catalogue; a test holds the committed files to its output.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.warehouse.schema import META, table_columns

FOLDER = Path(__file__).parent / "models" / "staging"
_SYNC = {
    "accounts": "Accounts that are read, and until when they are known: the models' now.",
    "metric_policies": "The MRR policies that are computed; those without an account hold where there are no own ones.",
    "fx_rates": "Exchange rates: one unit of a currency in another, in major units.",
    "object_state": "How the last reading of each object went.",
    "days": "What the warehouse holds per object and created-day.",
    "proofs": "What Stripe showed when a day was read once more to compare it with the warehouse.",
    "gaps": "Days whose changes may have been missed.",
    "payout_transactions": "Which balance transactions Stripe lists for each automatic payout.",
}


def files() -> Iterator[tuple[str, str]]:
    """(file name, content) of everything in models/staging."""
    yield "_sources.yml", _sources()
    yield "_staging.yml", _models()
    for row in CATALOGUE.values():
        names = [f'"{name}"' for name, _, _ in table_columns(row)]
        names += [f'"{name}"' for name, _, _ in META if name != "_payload"]
        listed = ",\n    ".join([*names, "_deleted_at is not null as is_deleted"])
        yield f"stg_stripe__{row.name}.sql", f"select\n    {listed}\nfrom {{{{ source('stripe', '{row.name}') }}}}\n"


def _sources() -> str:
    lines = ["version: 2", "", "sources:", "  - name: stripe", "    schema: stripe", "    tables:"]
    for row in CATALOGUE.values():
        lines += [f"      - name: {row.name}", f"        description: {json.dumps(row.description)}"]
        if row.history:
            text = f"{row.description} Every version that differs, with the time in which it held."
            lines += [
                f"      - name: {row.name}_history",
                f"        description: {json.dumps(text)}",
                f"        meta: {{dagster: {{asset_key: [stripe, {row.name}]}}}}",
            ]
    lines += ["  - name: sync", "    schema: sync", "    tables:"]
    keys = dict.fromkeys(_SYNC, "accounts") | {"payout_transactions": "balance_transactions"}
    for name, text in _SYNC.items():
        lines += [
            f"      - name: {name}",
            f"        description: {json.dumps(text)}",
            f"        meta: {{dagster: {{asset_key: [stripe, {keys[name]}]}}}}",
        ]
    return "\n".join(lines) + "\n"


def _models() -> str:
    lines = ["version: 2", "", "models:"]
    for row in CATALOGUE.values():
        lines += [
            f"  - name: stg_stripe__{row.name}",
            f"    description: {json.dumps(row.description)}",
            "    columns:",
        ]
        described = [(name, text) for name, _, text in [*table_columns(row), *META] if name != "_payload"]
        described.append(("is_deleted", "True when it was deleted at Stripe; the last known attributes are kept."))
        lines += [f"      - {{name: {name}, description: {json.dumps(text)}}}" for name, text in described]
    return "\n".join(lines) + "\n"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = dict(files())
    for old in FOLDER.iterdir():
        if old.name not in wanted:
            old.unlink()
    for name, content in wanted.items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
