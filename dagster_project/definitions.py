"""The code location `ledgerline`: assembly only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from dagster_project.orchestration.audit import compare_with_stripe
from dagster_project.orchestration.dbt_project import DBT, DBT_FOLDER, Dbt, ensure_manifest
from dagster_project.orchestration.effects import DESTINATIONS, build_effects
from dagster_project.orchestration.extract import extract
from dagster_project.orchestration.jobs import asset_jobs, close_job
from dagster_project.orchestration.models import build_models
from dagster_project.orchestration.published import build_published
from dagster_project.orchestration.resources import Pipeline
from dagster_project.orchestration.schedules import build_schedules
from dagster_project.orchestration.sensors import build_failure_sensor, effects_sensor, inbox_sensor
from dagster_project.settings import Settings


def build_defs(settings: Settings, *, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Everything that Dagster runs, for these settings. `resource_overrides` replaces `ledgerline` or `dbt`."""
    models = build_models(settings, ensure_manifest(settings))
    close = close_job(settings)
    return dg.Definitions(
        assets=[extract, models, build_published(models), *(build_effects(name) for name in DESTINATIONS)],
        asset_checks=[compare_with_stripe],
        jobs=[*asset_jobs(), close],
        schedules=build_schedules(settings, close),
        sensors=[inbox_sensor, effects_sensor, build_failure_sensor(settings)],
        resources={
            "ledgerline": Pipeline(settings),
            "dbt": Dbt(project_dir=str(DBT_FOLDER), profiles_dir=str(DBT_FOLDER), dbt_executable=str(DBT)),
            **(resource_overrides or {}),
        },
        # One process per run: with a process per step, five of six writers of the DuckDB file fail.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster's own tools load, with the settings of their environment."""
    return build_defs(Settings.load())
