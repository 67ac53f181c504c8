"""Jobs run from the command line: in this process, on the instance of the data directory, quiet on the terminal.

They appear in the UI like any other run, with dbt's output in the run's log.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_project import errors, terminal
from dagster_project.errors import LedgerlineError, WarehouseLocked
from dagster_project.orchestration.instance import opened
from dagster_project.orchestration.pools import DUCKDB_WRITE, WRITER, WRITER_TAG
from dagster_project.orchestration.published import PUBLISHED
from dagster_project.orchestration.resources import Pipeline
from dagster_project.orchestration.tables import stripe_key
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.stripe_api.sync import Progress

PROCESS_TAG = "ledgerline/process"
_QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
_RUNNING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


@dataclass(frozen=True)
class Outcome:
    """What a run came to: lines to show, problems of single objects or checks that it went on in spite of."""

    lines: list[str]
    problems: list[str]
    result: dg.ExecuteInProcessResult


def run_pipeline(
    settings: Settings,
    job: str,
    *,
    mode: str | None = None,
    objects: Sequence[str] | None = None,
    created: tuple[int | None, int | None] = (None, None),
    progress: Progress | None = None,
) -> Outcome:
    """Runs `job`, reading `objects` (default: all) created within `created` (Unix seconds, end excluded).

    Raises LedgerlineError when the run failed, WarehouseLocked when another one writes.
    """
    asked = {"mode": mode, "created_from": _iso(created[0]), "created_to": _iso(created[1])}
    extract = {name: value for name, value in asked.items() if value is not None}
    config = {"ops": {"extract": {"config": extract}}} if extract else {}
    selection = [stripe_key(name) for name in objects] if objects else None
    result = run_job(settings, job, run_config=config, selection=selection, progress=progress)
    return Outcome(_lines(result), problems(result), result)


def run_job(
    settings: Settings,
    job: str,
    *,
    run_config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    selection: Sequence[dg.AssetKey] | None = None,
    partition_key: str | None = None,
    progress: Progress | None = None,
) -> dg.ExecuteInProcessResult:
    """Executes a job of the code location in this process.

    Raises the LedgerlineError of the step that failed, a LedgerlineError with the step's cause for any other failure,
    and WarehouseLocked, before anything is read or written, when another run writes the warehouse.
    """
    from dagster_project.definitions import build_defs

    defs = build_defs(settings, resource_overrides={"ledgerline": Pipeline(settings, progress)})
    definition = defs.resolve_job_def(job)
    with ExitStack() as stack:
        instance = stack.enter_context(opened(settings))
        if WRITER_TAG in definition.tags:
            stack.enter_context(_only_writer(settings, instance))
        stack.enter_context(_quiet())
        result = definition.execute_in_process(
            run_config={**(run_config or {}), "loggers": _QUIET},
            instance=instance,
            tags={PROCESS_TAG: str(os.getpid()), **(tags or {})},
            asset_selection=selection,
            partition_key=partition_key,
            raise_on_error=False,
        )
    if not result.success:
        raise _cause(result)
    return result


def problems(result: dg.ExecuteInProcessResult) -> list[str]:
    """What failed without failing the run: checks of severity error, a line each."""
    return [
        f"{'.'.join(check.asset_key.path)}: {check.description or check.check_name + ' failed'}"
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
    ]


def _lines(result: dg.ExecuteInProcessResult) -> list[str]:
    made = [event.asset_key for event in result.get_asset_materialization_events() if event.asset_key]
    if not made:
        return ["Nothing changed; the published version has it all."]
    counts: dict[str, int] = {}
    for key in made:
        counts[key.path[0]] = counts.get(key.path[0], 0) + 1
    checks = result.get_asset_check_evaluations()
    lines = [", ".join(f"{count} {name}" for name, count in counts.items()) + f"; {len(checks)} checks."]
    for event in result.get_asset_materialization_events():
        if event.asset_key == PUBLISHED:
            metadata = event.materialization.metadata
            lines.append(f"Published version {metadata['number'].value}.")
    return lines


@contextmanager
def _only_writer(settings: Settings, instance: dg.DagsterInstance) -> Iterator[None]:
    """Holds a file lock while a run of this process writes: two of them would wait for each other's pool slot unseen,
    and a lock of the system ends with its process. Runs that a killed process left are closed, their slots freed."""
    path = settings.dagster_home / ".writer.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise WarehouseLocked(
                f"Another ledgerline process writes the warehouse (PID {file.read().strip() or 'unknown'}).",
                "Wait until it has finished, or stop it, and run this again.",
            ) from None
        for run in _writing(instance):
            if not run.is_finished and PROCESS_TAG not in run.tags and _alive(instance, run):
                raise WarehouseLocked(
                    f"Run {run.run_id[:8]} of job {run.job_name} writes the warehouse.",
                    "Wait until it has finished (Dagster UI, Runs), or terminate it there.",
                )
            if not run.is_finished:
                instance.report_run_failed(run, "Its process ended before the run did.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _writing(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Runs of jobs that write, and whatever holds the pool's slot, e.g. an asset that a person materialized."""
    found = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(tags=WRITER, statuses=_RUNNING))}
    for slot in instance.event_log_storage.get_concurrency_info(DUCKDB_WRITE).claimed_slots:
        run = instance.get_run_by_id(slot.run_id)
        if run is not None:
            found[run.run_id] = run
    return list(found.values())


def _alive(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the worker that the daemon started for this run lives; Dagster's local launcher does not look."""
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        pid = entry.get_dagster_event().engine_event_data.metadata.get("pid")
        if pid is not None:
            try:
                os.kill(int(str(pid.value)), 0)
            except ProcessLookupError:
                return False
            return True
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Sends what the run prints (dbt's lines) to its own log, while the command line's bars keep the terminal."""
    with ExitStack() as stack:
        terminal.console.file, terminal.errors.file = sys.stdout, sys.stderr
        kept = sys.stdout, sys.stderr
        sys.stdout = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123
        sys.stderr = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123
        try:
            yield
        finally:
            sys.stdout, sys.stderr = kept
            terminal.console.file = terminal.errors.file = None  # type: ignore[assignment]


def _cause(result: dg.ExecuteInProcessResult) -> BaseException:
    """The failure as a person should read it: the error of the first step that failed, or of the run; Ctrl-C is what
    it is everywhere else."""
    step = ""
    found: Any = None
    for event in result.all_events:
        if event.is_step_failure:
            step, found = event.step_key or "", event.step_failure_data.error
            break
        if event.is_failure and event.event_type == dg.DagsterEventType.RUN_FAILURE:
            found = event.job_failure_data.error
    if found is None:
        return LedgerlineError(f"Run {result.run_id[:8]} failed.", "Look at it in the UI (`ledgerline dev`).")
    # Dagster wraps what a step raised; what that was raised from is a detail of it.
    first = found.cause or found
    while found is not None:
        name, _, text = str(found.message).strip().partition(": ")
        kind = getattr(errors, name.rpartition(".")[2], None)
        if isinstance(kind, type) and issubclass(kind, LedgerlineError):
            message, _, next_step = text.partition(" Next: ")
            return kind(message, next_step)
        if found.cls_name == "DagsterExecutionInterruptedError":
            return KeyboardInterrupt()
        found = found.cause
    name, _, text = str(first.message).strip().partition(": ")
    failed = problems(result)
    detail = "; ".join(failed[:5]) if failed else f"{name.rpartition('.')[2]}: {text[:2000]}"
    return LedgerlineError(
        f"Step {step or 'start'} failed: {detail}",
        f"Run {result.run_id[:8]} in the UI (`ledgerline dev`) has the whole log.",
    )


def _iso(moment: int | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat()
