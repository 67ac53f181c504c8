"""A published warehouse with two outcomes, route files and an ops database, all real files in the test's folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from dagster_project.activation.routes import Route, load_routes
from dagster_project.ops.tables import effect
from dagster_project.settings import Settings
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.publish import publish

DISPUTES = (
    "account_id varchar, livemode boolean, key varchar, as_of timestamptz, charge_id varchar, customer_id varchar, "
    "customer_name varchar, amount bigint, currency varchar, amount_text varchar, reason varchar, status varchar, "
    "due_by timestamptz, opened_at timestamptz, still_open boolean"
)
INVOICES = (
    "account_id varchar, livemode boolean, key varchar, as_of timestamptz, invoice_id varchar, number varchar, "
    "customer_id varchar, customer_name varchar, currency varchar, total bigint, paid_at timestamptz, "
    "journal_lines struct(account varchar, debit bigint, credit bigint)[]"
)


@dataclass
class World:
    """`publish` makes a new version of the warehouse with these rows; `write` a route file."""

    settings: Settings
    engine: Engine
    routes: Path

    def publish(self, disputes: list[dict[str, Any]] | None = None, invoices: str = "where false") -> None:
        warehouse = Warehouse(self.settings.data_dir)
        with warehouse.connect() as con:
            con.execute(
                "create schema if not exists outcomes; create schema if not exists seeds; "
                "create schema if not exists ops"
            )
            con.execute("create or replace table seeds.stripe_currency (code varchar, exponent integer)")
            con.execute("insert into seeds.stripe_currency values ('eur', 2), ('usd', 2), ('jpy', 0)")
            con.execute(f"create or replace table outcomes.disputes_opened ({DISPUTES})")
            for row in disputes or []:
                names = ", ".join(row)
                con.execute(
                    f"insert into outcomes.disputes_opened ({names}) values ({', '.join('?' for _ in row)})",
                    list(row.values()),
                )
            con.execute(f"create or replace table outcomes.invoices_paid ({INVOICES})")
            con.execute(
                "insert into outcomes.invoices_paid select 'acct_1', false, 'in_' || i, "
                "timestamptz '2025-01-01 00:00:00+00' + to_minutes(i), 'in_' || i, 'A-' || i, 'cus_' || i % 7, "
                "'=Company \"' || i % 7, case i % 2 when 0 then 'eur' else 'jpy' end, 1000 + i, "
                "timestamptz '2025-01-01 00:00:00+00' + to_minutes(i), "
                "[{account: 'stripe_receipts', debit: 1000 + i, credit: 0}, "
                "{account: 'revenue', debit: 0, credit: 1000}, {account: 'sales_tax_payable', debit: 0, credit: i}] "
                f"from range(1, 100000) t(i) {invoices}"
            )
        publish(warehouse, data_until=datetime(2026, 1, 1, tzinfo=UTC))

    def write(self, text: str, name: str = "route.yaml") -> list[Route]:
        (self.routes / name).write_text(text)
        return load_routes(self.routes)

    def template(self, name: str, text: str) -> None:
        (self.routes / "templates").mkdir(exist_ok=True)
        (self.routes / "templates" / name).write_text(text)

    def states(self) -> dict[str, list[str]]:
        """State of the effects by key, in the order of planning."""
        found: dict[str, list[str]] = {}
        with self.engine.connect() as connection:
            for key, state in connection.execute(select(effect.c.key, effect.c.state).order_by(effect.c.seq)):
                found.setdefault(key, []).append(state)
        return found


def dispute(key: str, **values: Any) -> dict[str, Any]:
    moment = datetime(2025, 3, 1, 12, 30, tzinfo=UTC)
    return {
        "account_id": "acct_1", "livemode": False, "key": key, "as_of": datetime(2026, 1, 1, tzinfo=UTC),
        "charge_id": f"ch_{key}",
        "customer_id": "cus_1", "customer_name": "Ada <!channel> & Co", "amount": 123450, "currency": "eur",
        "amount_text": "1,234.50 EUR", "reason": "product_not_received", "status": "needs_response",
        "due_by": datetime(2025, 3, 9, tzinfo=UTC), "opened_at": moment, "still_open": True, **values,
    }  # fmt: skip
