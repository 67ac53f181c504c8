"""Which accounts a run reads, in which order and how many at once.

Limits are per account and mode (https://docs.stripe.com/rate-limits), and requests with `Stripe-Account` are taken to
count as the platform's, because Stripe does not exempt them. So every key has one governor, keys do not wait for each
other, and behind a key a few accounts are read at once: a large one takes one place of several, and the small ones pass
it by. Whoever was read longest ago comes first, so that a run that is cut short again and again reaches everybody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from dagster_project.errors import LedgerlineError, StripeError, StripeUnreachable
from dagster_project.settings import Account, Settings
from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.stripe_api.client import connect
from dagster_project.stripe_api.governor import Governor
from dagster_project.stripe_api.reading import pages
from dagster_project.stripe_api.report import Progress, SyncReport

PER_KEY, IN_ALL = 6, 24  # accounts at once: more would only take memory, because six fill the limits of a key
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """One account to read: that of a key, or one `connected` to it."""

    account: Account
    connected: str | None
    governor: Governor = field(compare=False)

    @property
    def label(self) -> str:
        """What reports call it."""
        return f"{self.account.name}/{self.connected}" if self.connected else self.account.name


Run = Callable[[Reading], Awaitable[None]]


async def read_all(
    settings: Settings, accounts: Sequence[Account], report: SyncReport, run: Run, last_read: Mapping[str, float],
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """`run` every account. `last_read` tells when (Unix seconds) accounts of this id were read before.

    What Stripe refuses to one account, or garbles, is its failure in `report`; the others go on. Raises the first
    failure when no account could be read; what concerns everybody (the warehouse, the disk) ends the run once the
    accounts that are under way have ended.
    """
    places = asyncio.Semaphore(IN_ALL)
    failures: list[StripeError] = []
    fatal: list[BaseException] = []
    read = 0

    def failed(label: str, error: StripeError) -> None:
        failures.append(error)
        report.failed_accounts[label] = str(error)

    async def one(reading: Reading) -> None:
        nonlocal read
        async with places:
            if fatal:
                return
            try:
                await run(reading)
                read += 1
            except StripeError as error:
                failed(reading.label, error)
            except (LedgerlineError, duckdb.Error, OSError) as error:
                fatal.append(error)
            except Exception as error:
                # What one account answers must not stop the others, even where nobody thought of it.
                log.exception("account %s", reading.label)
                failed(reading.label, _not_understood(reading, error))

    async def key(account: Account) -> None:
        governor = Governor.of(settings, account)
        governor.in_mode(account.says_livemode is not False)
        if progress:
            progress.watch(governor)
        began = time.monotonic()
        begin = asyncio.create_task(one(Reading(account, None, governor)))
        try:
            ids = list(account.connected)
            if account.all_connected:
                ids = await connected_accounts(settings, account, governor)
        except StripeError as error:
            failed(f"{account.name}/connected", error)
            ids = []
        ids.sort(key=lambda id: last_read.get(id, 0.0))
        waiting = iter(ids)

        async def worker() -> None:
            for id in waiting:
                await one(Reading(account, id, governor))

        await asyncio.gather(begin, *(worker() for _ in range(min(PER_KEY, len(ids)))))
        report.count_requests(governor, time.monotonic() - began)

    await asyncio.gather(*(key(account) for account in accounts))
    report.problems += [f"account {label}: {message}" for label, message in sorted(report.failed_accounts.items())]
    if fatal:
        raise fatal[0]
    if failures and not read:
        raise failures[0]


async def everyone(settings: Settings, account: Account) -> list[str | None]:
    """Whom a key reads: itself (None) and the accounts connected to it. Raises StripeError."""
    if account.all_connected:
        return [None, *await connected_accounts(settings, account, Governor.of(settings, account))]
    return [None, *account.connected]


async def connected_accounts(settings: Settings, account: Account, governor: Governor) -> list[str]:
    """The accounts that are connected to a platform now (https://docs.stripe.com/api/accounts/list).

    Raises StripeError.
    """
    row = CATALOGUE["accounts"]
    async with connect(settings, account, governor) as client:
        return [head.id async for page in pages(client, row, row.path or "", {}) for head in page.heads]


def _not_understood(reading: Reading, error: Exception) -> StripeUnreachable:
    made = StripeUnreachable(
        f"What account {reading.label} answers is not understood ({type(error).__name__}: {error}).",
        "Report it with the files of that account under landing/.",
    )
    made.__cause__ = error
    return made
