"""`ledgerline …`: thin commands over the same functions that the assets and the receiver call.

Exit status: 0 success, 1 a failed check or run, 2 bad usage. Verbs that run the pipeline run its Dagster job in-process
on the instance in the data directory, so they appear in the UI.
"""

from __future__ import annotations

import errno
import os
import sys

# Nothing phones home. Set before any of the libraries is imported.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")

import click

from dagster_project import __version__
from dagster_project.cli import effects, health, pipeline, project, simulator, webhooks
from dagster_project.errors import LedgerlineError, StorageError, UsageError
from dagster_project.terminal import errors as stderr

_STORAGE = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="ledgerline")
def cli() -> None:
    """Stripe as a warehouse that finance trusts, and as actions that other teams receive."""


def main() -> None:
    """Entry point: one clear message with the next step for every failure that a person can act on."""
    try:
        status = cli(standalone_mode=False)
    except click.exceptions.Abort:
        stderr.print("Stopped.")
        status = 130
    except click.ClickException as error:
        error.show()
        status = 2
    except LedgerlineError as error:
        _complain(error)
        status = error.exit_code
    except OSError as error:
        if error.errno not in _STORAGE:
            raise
        _complain(
            StorageError(
                f"{error.filename or 'The data directory'}: {error.strerror}.",
                "Free some space or give this user the right to write, then run the same command again.",
            )
        )
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


def _complain(error: LedgerlineError) -> None:
    stderr.print(f"Error: {error.message}")
    if error.next_step:
        stderr.print(f"Next:  {error.next_step}")


def _later(name: str, what: str) -> None:
    """A verb of the contract that is not there yet: it says so and exits 2."""

    @cli.command(name, help=f"{what} (not there yet).", context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        raise UsageError(f"`ledgerline {name}` is not there yet.", "See CHANGELOG.md for what is.")

    _ = command


for command in (
    health.doctor,
    health.status,
    pipeline.backfill,
    pipeline.refresh,
    pipeline.audit,
    pipeline.rebuild,
    simulator.simulator,
    effects.plan,
    effects.effects,
    effects.replay,
    effects.worker,
    webhooks.receive,
    webhooks.webhooks,
    project.demo,
    project.dev,
    project.docs,
    project.bench,
    project.golden,
):
    cli.add_command(command)
_later("approve", "Approve a held effect")
_later("reject", "Reject a held effect")
_later("explain", "From a number to the Stripe objects behind it")

__all__ = ["cli", "main"]
