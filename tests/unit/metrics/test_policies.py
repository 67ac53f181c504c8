"""Policies from profiles and files, their hashes, and what they become in the warehouse."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dagster_project.errors import SettingError
from dagster_project.metrics.install import install, reported, write_policies
from dagster_project.metrics.policies import PROFILES, Policy
from dagster_project.settings import Settings
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.schema import ensure


def rows(con: duckdb.DuckDBPyConnection, columns: str) -> list[Any]:
    return con.execute(f"select {columns} from sync.metric_policies order by all").fetchall()


def test_profiles_have_the_same_keys_and_differ() -> None:
    profiles = [Policy.named(name) for name in PROFILES]
    assert len({frozenset(profile.keys) for profile in profiles}) == 1
    assert len({profile.hash for profile in profiles}) == len(PROFILES)
    assert Policy.named("default").keys["interval_factor.week"] == Fraction(52, 12)


def test_a_file_changes_what_it_names_of_its_base(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text("base: chartmogul\ndiscounts: {once: ignore}\ninterval_factor.day: 30\n")
    policy, base = Policy.named(str(path)), Policy.named("chartmogul")
    changed = {key for key, value in policy.keys.items() if base.keys[key] != value}
    assert (policy.profile, changed) == ("ours", {"discounts.once", "interval_factor.day"})
    assert policy.hash != base.hash
    assert (
        policy.override({"discounts.once": "subtract_first_period", "interval_factor.day": "365/12"}).hash == base.hash
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("discounts: {sometimes: ignore}", "sometimes"),
        ("churn_timing: tomorrow", "ended_at or canceled_at"),
        ("statuses: [active, asleep]", "statuses"),
        ("statuses: []", "statuses"),
        ("past_due_grace_days: -1", "past_due_grace_days"),
        ("past_due_grace_days: 2.5", "past_due_grace_days"),
        ("interval_factor: {day: 30.4}", "interval_factor.day"),
        ("interval_factor: {day: 1/0}", "interval_factor.day"),
        ("timezone: Mars/Olympus", "timezone"),
        ("base: maxio", "maxio"),
        ("quick_ratio: {include_reactivation: 1}", "include_reactivation"),
        ("customer_key: {cus_1: 7}", "customer_key"),
        ("- a\n- b", "no keys"),
        ("a: [", "cannot be read"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(text)
    with pytest.raises(SettingError) as error:
        Policy.named(str(path))
    assert says in str(error.value) and str(path) in str(error.value) and error.value.next_step


def test_an_unknown_key_is_no_override() -> None:
    with pytest.raises(SettingError, match="churn"):
        Policy.named("default").override({"churn": "ended_at"})


def test_the_warehouse_has_the_policy_of_the_settings_and_changes_only_with_it(tmp_path: Path) -> None:
    settings = Settings.load(
        {
            "LEDGERLINE_DATA_DIR": str(tmp_path),
            "LEDGERLINE_TIMEZONE": "Asia/Tokyo",
            "LEDGERLINE_MRR_POLICY": "profitwell",
        },
        dotenv=tmp_path / "none",
    )
    with Warehouse(tmp_path).connect() as con:
        ensure(con)
        install(con, settings)
        wanted = (None, reported(settings).hash, "profitwell", True, "Asia/Tokyo", 365, 12, "trailing_invoice")
        shown = "account_id, policy_hash, profile, is_default, timezone, day_numerator, day_denominator, metered"
        assert rows(con, shown) == [wanted]
        before = con.execute("select rowid, * from sync.metric_policies").fetchall()
        install(con, settings)
        assert con.execute("select rowid, * from sync.metric_policies").fetchall() == before
        other = Policy.named("default").override({"ltv.gross_margin": "4/5", "customer_key": {"cus_a": "cus_b"}})
        write_policies(con, "acct_1", [other], "eur")
        assert rows(con, "profile, account_id, reporting_currency, ltv_gross_margin_numerator, customer_key") == [
            ("default", "acct_1", "eur", 4, '{"cus_a": "cus_b"}'),
            ("profitwell", None, None, None, "{}"),
        ]
