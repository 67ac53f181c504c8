"""The exact lists of what the code location offers, written down independently of the catalogue and the manifest."""

from __future__ import annotations

import ast
import json
import os
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.orchestration.dbt_project import ensure_manifest
from dagster_project.settings import PROJECT_ROOT, Settings

STRIPE = [
    "accounts",
    "active_entitlements",
    "application_fee_refunds",
    "application_fees",
    "balance",
    "balance_transactions",
    "billing_alerts",
    "billing_credit_balance_transactions",
    "billing_credit_grants",
    "billing_meter_event_summaries",
    "billing_meters",
    "charges",
    "checkout_session_line_items",
    "checkout_sessions",
    "coupons",
    "credit_note_lines",
    "credit_notes",
    "customer_balance_transactions",
    "customer_cash_balance_transactions",
    "customer_payment_methods",
    "customer_sources",
    "customer_tax_ids",
    "customers",
    "discounts",
    "disputes",
    "early_fraud_warnings",
    "entitlement_features",
    "events",
    "exchange_rates",
    "external_accounts",
    "files",
    "invoice_items",
    "invoice_line_items",
    "invoice_payments",
    "invoice_rendering_templates",
    "invoices",
    "payment_intents",
    "payment_links",
    "payment_methods",
    "payment_records",
    "payouts",
    "plans",
    "prices",
    "products",
    "promotion_codes",
    "quotes",
    "refunds",
    "reviews",
    "setup_attempts",
    "setup_intents",
    "shipping_rates",
    "subscription_items",
    "subscription_schedules",
    "subscriptions",
    "tax_codes",
    "tax_ids",
    "tax_rates",
    "test_clocks",
    "topups",
    "transfer_reversals",
    "transfers",
    "webhook_endpoints",
]
STRIPE_KEYS = {dg.AssetKey(["stripe", name]) for name in STRIPE}
PUBLISHED = dg.AssetKey(["warehouse", "published"])
EFFECTS = {dg.AssetKey(["effects", "slack"]), dg.AssetKey(["effects", "erp"])}
SCHEMAS = ("staging", "intermediate", "marts", "outcomes")
WRITERS = {"extract", "dbt", "warehouse__published", "compare_with_stripe"}


def model_keys() -> set[dg.AssetKey]:
    """From the files on disk: models/<schema>/…/<model>.sql, seeds/…/<seed>.csv."""
    dbt = PROJECT_ROOT / "dbt"
    models = {
        dg.AssetKey([schema, file.stem]) for schema in SCHEMAS for file in (dbt / "models" / schema).rglob("*.sql")
    }
    return models | {dg.AssetKey(["seeds", file.stem]) for file in (dbt / "seeds").rglob("*.csv")}


def test_the_assets_are_exactly_these(defs: dg.Definitions) -> None:
    found = set(defs.resolve_asset_graph().materializable_asset_keys)
    assert found == STRIPE_KEYS | model_keys() | {PUBLISHED} | EFFECTS
    assert len(STRIPE_KEYS) == 62


def test_no_key_is_known_that_nothing_makes(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    assert set(graph.get_all_asset_keys()) == set(graph.materializable_asset_keys)


def test_every_asset_says_what_it_is_and_whose(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.description, key
        assert node.owners == ["team:data"], key
        assert node.group_name not in (None, "default"), key
        assert node.kinds, key


def test_the_checks_outside_dbt_are_exactly_these(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    expected = {(key, name) for key in STRIPE_KEYS for name in ("readable", "unique_key", "matches_stripe")}
    expected |= {(PUBLISHED, "opens_with_all_marts")}
    expected |= {(key, name) for key in EFFECTS for name in ("no_dead_effects", "no_unsure_effects")}
    from_dbt = {node["name"] for node in dbt_tests(defs)}
    assert {(c.asset_key, c.name) for c in graph.asset_check_keys if c.name not in from_dbt} == expected


def test_every_dbt_test_is_a_check_and_severity_error_blocks(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    blocking = {key.name: graph.get(key).blocking for key in graph.asset_check_keys}
    tests = dbt_tests(defs)
    assert tests
    for node in tests:
        severity = (node["config"].get("severity") or "error").lower()
        assert blocking.get(node["name"]) is (severity == "error"), node["original_file_path"]


def dbt_tests(defs: dg.Definitions) -> list[dict]:
    manifest = json.loads(ensure_manifest(defs.resources["ledgerline"].settings).read_text())
    return [node for name, node in manifest["nodes"].items() if name.startswith("test.")]


def test_the_published_version_waits_for_every_mart_and_outcome(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    wanted = {key for key in model_keys() if key.path[0] in ("marts", "outcomes")}
    assert set(graph.get(PUBLISHED).parent_keys) == wanted | STRIPE_KEYS
    for key in EFFECTS:
        assert set(graph.get(key).parent_keys) == {PUBLISHED}


def test_the_jobs_are_exactly_these_and_select_what_their_name_says(defs: dg.Definitions) -> None:
    repository = defs.get_repository_def()
    names = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert names == {"backfill", "refresh", "audit", "deliver", "close_month"}

    def selected(name: str) -> set[dg.AssetKey]:
        return set(defs.resolve_job_def(name).asset_layer.selected_asset_keys)

    assert selected("backfill") == STRIPE_KEYS
    assert selected("refresh") == STRIPE_KEYS | model_keys() | {PUBLISHED} | EFFECTS
    assert selected("deliver") == EFFECTS
    assert selected("audit") == set()
    audited = {
        (key.asset_key, key.name) for key in defs.resolve_job_def("audit").asset_layer.asset_graph.asset_check_keys
    }
    assert audited >= {(key, "matches_stripe") for key in STRIPE_KEYS}
    close = defs.resolve_job_def("close_month")
    assert isinstance(close.partitions_def, dg.MonthlyPartitionsDefinition)


def test_no_ordinary_run_compares_with_stripe(defs: dg.Definitions) -> None:
    assert "compare_with_stripe" not in {node.name for node in defs.resolve_job_def("refresh").graph.node_defs}


def test_schedules_and_sensors_are_exactly_these(defs: dg.Definitions) -> None:
    repository = defs.get_repository_def()
    assert {s.name: (s.cron_schedule, s.job_name) for s in repository.schedule_defs} == {
        "refresh_hourly": ("7 * * * *", "refresh"),
        "audit_nightly": ("30 3 * * *", "audit"),
        "close_monthly": ("0 6 2 * *", "close_month"),
    }
    assert {s.name for s in repository.sensor_defs} == {"inbox", "effects", "run_failures"}
    for automation in (*repository.schedule_defs, *repository.sensor_defs):
        assert automation.default_status.value == "RUNNING"


def test_what_opens_the_build_file_shares_one_pool_and_runs_in_one_process(defs: dg.Definitions) -> None:
    pools = {}
    for job in ("refresh", "audit"):
        for node in defs.resolve_job_def(job).graph.node_defs:
            pools[node.name] = node.pools
    assert {name for name, used in pools.items() if used} == WRITERS
    assert all(used == {"duckdb_write"} for used in pools.values() if used)
    assert defs.executor is dg.in_process_executor
    for name in ("backfill", "refresh", "audit"):
        assert defs.resolve_job_def(name).tags["ledgerline/writer"] == "warehouse"


def test_the_definitions_are_loadable(defs: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(defs)


def test_every_file_gives_the_code_location_the_same_name() -> None:
    workspace = yaml.safe_load((PROJECT_ROOT / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert workspace["location_name"] == project["code_location_name"] == "ledgerline"
    assert workspace["module_name"] == project["code_location_target_module"] == "dagster_project.definitions"


def test_the_manifest_is_parsed_again_only_when_a_dbt_file_is_newer(
    settings: Settings, defs: dg.Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster_project.orchestration import dbt_project

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("dbt was started")

    monkeypatch.setattr(dbt_project.subprocess, "run", refuse)
    manifest = ensure_manifest(settings)
    assert manifest.exists()
    kept = manifest.stat()
    os.utime(manifest, (kept.st_atime, (dbt_project.DBT_FOLDER / "dbt_project.yml").stat().st_mtime - 1))
    try:
        with pytest.raises(AssertionError, match="dbt was started"):
            ensure_manifest(settings)
    finally:
        os.utime(manifest, (kept.st_atime, kept.st_mtime))


def test_only_the_orchestration_imports_dagster() -> None:
    package = PROJECT_ROOT / "dagster_project"
    allowed = {package / "definitions.py"}
    offenders = []
    for file in package.rglob("*.py"):
        if file in allowed or (package / "orchestration") in file.parents:
            continue
        offenders += [f"{file.relative_to(package)}: {name}" for name in imported(file) if is_dagster(name)]
    assert not offenders
    assert any(is_dagster(name) for name in imported(package / "orchestration" / "extract.py"))


def is_dagster(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in {
        "dagster",
        "dagster_dbt",
        "dagster_webserver",
        "dagster_graphql",
        "dagster_shared",
    }


def imported(file: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module or "")
    return names
