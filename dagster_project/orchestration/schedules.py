"""When jobs run by themselves. Running from the start, because a fresh `make dev` should keep itself current.

https://docs.dagster.io/guides/automate/schedules
"""

import dagster as dg

from dagster_project.orchestration.jobs import audit, refresh
from dagster_project.orchestration.resources import Pipeline
from dagster_project.settings import Settings

RUNNING = dg.DefaultScheduleStatus.RUNNING


def build_schedules(settings: Settings, close_job: dg.JobDefinition) -> list[dg.ScheduleDefinition]:
    """Refresh hourly, audit nightly, close a month on the 2nd of the next, in the reporting time zone."""
    close = dg.build_schedule_from_partitioned_job(
        close_job, name="close_monthly", day_of_month=2, hour_of_day=6, default_status=RUNNING
    )
    assert isinstance(close, dg.ScheduleDefinition)

    @dg.schedule(
        name="refresh_hourly",
        job=refresh,
        cron_schedule="7 * * * *",
        execution_timezone=settings.timezone,
        default_status=RUNNING,
        description="Catches what no webhook announced; less often where Stripe's read allocation is small.",
    )
    def refresh_hourly(ledgerline: dg.ResourceParam[Pipeline]) -> dg.RunRequest | dg.SkipReason:
        from dagster_project.stripe_api.allocation import reason_to_wait

        reason = reason_to_wait(ledgerline.settings, ledgerline.warehouse)
        return dg.SkipReason(reason) if reason else dg.RunRequest()

    return [
        refresh_hourly,
        dg.ScheduleDefinition(
            name="audit_nightly",
            job=audit,
            cron_schedule="30 3 * * *",
            execution_timezone=settings.timezone,
            default_status=RUNNING,
            run_config={"ops": {"compare_with_stripe": {"config": {"repair": True}}}},
            description="Compares the days whose proof is oldest with Stripe, and repairs what differs.",
        ),
        close,
    ]
