"""The dbt models as assets, their tests as asset checks (severity error blocks publishing).

Belongs here: names, groups and how a build is run. What the models say is in dbt/.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, dbt_assets

from dagster_project.metrics.install import install
from dagster_project.orchestration.dbt_project import Dbt, project, remember_build, target, told
from dagster_project.orchestration.extract import OWNERS, RunLog
from dagster_project.orchestration.pools import DUCKDB_WRITE
from dagster_project.orchestration.resources import Pipeline
from dagster_project.settings import Settings
from dagster_project.stripe_api.catalog import CATALOGUE

PUBLISHED_SCHEMAS = ("marts", "outcomes")


class Translator(DagsterDbtTranslator):
    """[schema, model] for models, ["seeds", seed] for seeds, ["stripe", object] for sources."""

    def __init__(self) -> None:
        super().__init__(
            DagsterDbtTranslatorSettings(enable_source_tests_as_checks=True, enable_duplicate_source_asset_keys=True)
        )

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        name = dbt_resource_props["name"]
        match dbt_resource_props["resource_type"]:
            case "source" if dbt_resource_props["source_name"] == "stripe":
                # A history table is written together with its object.
                return dg.AssetKey(["stripe", name if name in CATALOGUE else name.removesuffix("_history")])
            case "source":
                # What the pipeline notes about itself (sync.*) is written together with the accounts.
                return dg.AssetKey(["stripe", "accounts"])
            case "seed":
                return dg.AssetKey(["seeds", name])
            case _:
                return dg.AssetKey([dbt_resource_props["schema"], name])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        return "seeds" if dbt_resource_props["resource_type"] == "seed" else dbt_resource_props["schema"]

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        return OWNERS

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        return dbt_resource_props.get("description") or ""


def build_models(settings: Settings, manifest: Path) -> dg.AssetsDefinition:
    """The models of the manifest as one step, since dbt orders and parallelizes them itself."""

    @dbt_assets(
        manifest=_with_owned_tests(json.loads(manifest.read_text(encoding="utf-8"))),
        project=project(settings),
        name="dbt",
        dagster_dbt_translator=Translator(),
        pool=DUCKDB_WRITE,
    )
    def models(context: dg.AssetExecutionContext, dbt: Dbt, ledgerline: dg.ResourceParam[Pipeline]) -> Iterator[Any]:
        from dagster_project.warehouse.load import load_version
        from dagster_project.warehouse.state import mark_built

        with ledgerline.warehouse.connect() as con:
            install(con, ledgerline.settings)
            version = load_version(con)
        # Unit tests are for whoever changes a model: `make test`.
        command = ["build", "--exclude", "resource_type:unit_test"]
        with told(ledgerline.settings):
            # Given the asset context itself, dagster-dbt 0.29 uses an attribute of it that Dagster 1.13 has deprecated.
            build = dbt.cli(
                command, context=context.op_execution_context, target_path=target(ledgerline.settings) / "run"
            )
        yield from _watched(build.stream(), context, ledgerline)
        if not context.is_subset:
            with ledgerline.warehouse.connect() as con:
                mark_built(con, version)
            remember_build(ledgerline.settings)

    return models


def _with_owned_tests(manifest: dict[str, Any]) -> dict[str, Any]:
    """Tests that compare several models belong to a mart they read (else to the first model), because Dagster shows a
    test as a check only when it belongs to one asset."""
    for name, test in manifest["nodes"].items():
        if not name.startswith("test.") or test.get("attached_node"):
            continue
        parents = test["depends_on"]["nodes"]
        read = [manifest["nodes"][parent] for parent in parents if parent.startswith("model.")]
        if len(set(parents)) < 2 or not read:
            continue
        owner = next((node for node in read if node["schema"] in PUBLISHED_SCHEMAS), read[0])
        meta = test["config"].setdefault("meta", {}).setdefault("dagster", {})
        meta.setdefault(
            "ref", {"name": owner["name"], "package": owner["package_name"], "version": owner.get("version")}
        )
    return manifest


def _watched(events: Iterator[Any], context: dg.AssetExecutionContext, ledgerline: Pipeline) -> Iterator[Any]:
    """The events of the build, counted where a person watches."""
    name, built, passed, failed = "models and tests", 0, 0, 0
    progress = ledgerline.progress or RunLog(context.log)
    progress.start(name, len(context.selected_asset_keys) + len(context.selected_asset_check_keys))
    for event in events:
        if isinstance(event, dg.AssetCheckResult):
            passed, failed = passed + event.passed, failed + (not event.passed)
        elif isinstance(event, dg.Output):
            built += 1
        progress.advance(name, 1)
        yield event
    progress.done(name, f"{built} built, {passed} tests passed, {failed} failed")


def model_keys(models: dg.AssetsDefinition, *schemas: str) -> list[dg.AssetKey]:
    """The keys of the models in these schemas, sorted."""
    return sorted(key for key in models.keys if key.path[0] in schemas)
