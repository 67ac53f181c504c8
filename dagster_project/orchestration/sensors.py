"""What starts a run when something happened: a webhook arrived, an effect is due, a run failed.

A sensor ticks every 5 s at best; what must leave faster is sent by `ledgerline worker`.
https://docs.dagster.io/guides/automate/sensors
"""

import json
import re
from collections.abc import Sequence

import dagster as dg

from dagster_project.orchestration.jobs import deliver, refresh
from dagster_project.orchestration.resources import Pipeline
from dagster_project.settings import Settings

RUNNING = dg.DefaultSensorStatus.RUNNING
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_QUEUED = _UNFINISHED[:3]


def _has_run(instance: dg.DagsterInstance, job: str, statuses: Sequence[dg.DagsterRunStatus]) -> bool:
    return bool(instance.get_run_records(dg.RunsFilter(job_name=job, statuses=list(statuses)), limit=1))


@dg.sensor(job=refresh, name="inbox", minimum_interval_seconds=5, default_status=RUNNING)
def inbox_sensor(
    context: dg.SensorEvaluationContext, ledgerline: dg.ResourceParam[Pipeline]
) -> dg.RunRequest | dg.SkipReason:
    """Refreshes when webhooks have arrived. Events of one tick share a run, and a run that has not begun reading yet
    takes later ones along."""
    from dagster_project.receiver.inbox import pending
    from dagster_project.stripe_api.allocation import reason_to_wait

    with ledgerline.ops() as engine:
        rows = pending(engine)
    if not rows:
        return dg.SkipReason("No webhook waits.")
    newest = max(int(row["id"]) for row in rows)
    if newest <= int(context.cursor or 0):
        return dg.SkipReason(f"A run was started for the {len(rows)} webhooks that wait.")
    if _has_run(context.instance, refresh.name, _QUEUED):
        return dg.SkipReason("A refresh that is queued takes them along.")
    if reason := reason_to_wait(ledgerline.settings, ledgerline.warehouse):
        return dg.SkipReason(f"{len(rows)} webhooks wait. {reason}")
    context.update_cursor(str(newest))
    return dg.RunRequest(run_key=f"inbox-{newest}", tags={"ledgerline/trigger": "webhook"})


@dg.sensor(job=deliver, name="effects", minimum_interval_seconds=5, default_status=RUNNING)
def effects_sensor(
    context: dg.SensorEvaluationContext, ledgerline: dg.ResourceParam[Pipeline]
) -> dg.RunRequest | dg.SkipReason:
    """Delivers when effects are due: approved meanwhile, or to be tried again."""
    from dagster_project.activation.overview import overview

    with ledgerline.ops() as engine:
        due = sum(int(row.get("due", row["ready"])) for row in overview(engine))
    if not due:
        return dg.SkipReason("No effect is due.")
    if _has_run(context.instance, deliver.name, _UNFINISHED) or _has_run(context.instance, refresh.name, _UNFINISHED):
        return dg.SkipReason(f"{due} effects are due; a run that sends them is under way.")
    return dg.RunRequest(tags={"ledgerline/trigger": "effects"})


def build_failure_sensor(settings: Settings) -> dg.SensorDefinition:
    """A file in the outbox for every failed run, written without any store that may itself be what failed."""

    @dg.run_failure_sensor(name="run_failures", default_status=RUNNING, monitor_all_code_locations=False)
    def run_failures(context: dg.RunFailureSensorContext) -> None:
        steps = [
            f"{event.step_key}: {event.step_failure_data.error_display_string}"
            for event in context.get_step_failure_events()
        ]
        report_failure(settings, context.dagster_run, "\n".join([context.failure_event.message or "", *steps]))

    return run_failures


def report_failure(settings: Settings, run: dg.DagsterRun, message: str) -> None:
    """Writes `<data>/outbox/failures/<run>.json`; the same run again writes the same file."""
    folder = settings.data_dir / "outbox" / "failures"
    folder.mkdir(parents=True, exist_ok=True)
    text = {"run": run.run_id, "job": run.job_name, "message": _without_secrets(message)}
    draft = folder / f".{run.run_id}.tmp"
    draft.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
    draft.replace(folder / f"{run.run_id}.json")


def _without_secrets(text: str) -> str:
    return re.sub(r"\b((?:sk|rk|whsec|xox[a-z])[_-])[A-Za-z0-9_-]{8,}", r"\1…", text)
