"""What works, what does not, what to do: settings, key permissions per object, clock skew, disk, ports, versions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from dagster_project.errors import LedgerlineError
from dagster_project.settings import Account, Settings
from dagster_project.stripe_api.catalog import API_VERSION, CATALOGUE

State = Literal["ok", "warn", "fail"]
_CLOCK_TOLERANCE = 60  # seconds; webhook signatures are refused beyond 300
_DISK_FLOOR = 2 * 1024**3  # bytes


@dataclass(frozen=True)
class Finding:
    """One line of the report. `next_step` is empty when nothing needs doing."""

    topic: str
    state: State
    detail: str
    next_step: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Every check, in the order in which a person would repair them. Changes nothing but an empty data directory."""
    yield from _versions()
    yield from _data_directory(settings)
    yield from _ops_database(settings)
    yield from _warehouse(settings)
    yield from _ports(settings)
    yield from _stripe(settings)


def _versions() -> Iterator[Finding]:
    packages = ("dagster", "dagster-dbt", "dbt-core", "dbt-duckdb", "duckdb", "stripe", "sqlalchemy")
    detail = ", ".join(f"{name} {version(name)}" for name in packages)
    yield Finding("versions", "ok", f"Python {platform.python_version()}, {detail}, Stripe API {API_VERSION}")


def _data_directory(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        yield Finding(
            "data directory",
            "fail",
            f"{folder} cannot be written ({error.strerror})",
            "Give this user the right to write there, or set LEDGERLINE_DATA_DIR.",
        )
        return
    free = shutil.disk_usage(folder).free
    state: State = "ok" if free >= _DISK_FLOOR else "warn"
    yield Finding(
        "data directory",
        state,
        f"{folder}, {free / 1024**3:,.1f} GiB free",
        "" if state == "ok" else "Free some space.",
    )


def _ops_database(settings: Settings) -> Iterator[Finding]:
    from sqlalchemy import text

    from dagster_project.ops.database import open_ops

    try:
        engine = open_ops(settings)
        with engine.connect() as connection:
            connection.execute(text("select 1"))
        yield Finding("ops database", "ok", f"{engine.dialect.name} answers")
        engine.dispose()
    except LedgerlineError as error:
        yield Finding("ops database", "fail", error.message, error.next_step)
    except Exception as error:  # any driver's error is a finding here
        yield Finding("ops database", "fail", type(error).__name__, "Check LEDGERLINE_OPS_URL.")


def _warehouse(settings: Settings) -> Iterator[Finding]:
    from dagster_project.warehouse.connection import Warehouse
    from dagster_project.warehouse.publish import current

    try:
        publication = current(Warehouse(settings.data_dir))
    except LedgerlineError as error:
        yield Finding("published warehouse", "fail", error.message, error.next_step)
        return
    if publication is None:
        yield Finding("published warehouse", "warn", "none yet", "Run `ledgerline refresh`.")
    else:
        yield Finding(
            "published warehouse",
            "ok",
            f"version {publication.number}, data until {publication.data_until:%Y-%m-%d %H:%M} UTC",
        )
        yield from _reads(publication.path)


def _reads(published: Path) -> Iterator[Finding]:
    """How much of Stripe's read allocation is used, as far as the published version knows."""
    from dagster_project.stripe_api.allocation import standings
    from dagster_project.warehouse.connection import open_file

    try:
        with open_file(published, read_only=True, wait=0) as con:
            found = standings(con)
    except LedgerlineError:  # somebody holds it open for writing, which publishing mends
        return
    for one in found:
        much = max(one.used, one.projected) > one.allowed
        yield Finding(
            f"{one.who}: reads",
            "warn" if much else "ok",
            f"{one.used:,} of {one.allowed:,} that Stripe allows in 30 days; {one.projected:,} at this pace",
            "Polling slows down by itself; read fewer objects, or ask Stripe for more." if much else "",
        )


def _ports(settings: Settings) -> Iterator[Finding]:
    for name in ("LEDGERLINE_UI_PORT", "LEDGERLINE_RECEIVER_PORT"):
        port = settings.port(name)
        with contextlib.closing(socket.socket()) as probe:
            probe.settimeout(0.5)
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        yield Finding(
            f"port {port}",
            "warn" if taken else "ok",
            "in use" if taken else "free",
            f"Fine when `make dev` runs; else set {name}." if taken else "",
        )


def _stripe(settings: Settings) -> Iterator[Finding]:
    if settings.uses_simulator:
        yield Finding("Stripe", "ok", "no key is set: the local simulator is used; it starts when it is needed")
        return
    try:
        accounts = settings.accounts()
    except LedgerlineError as error:
        yield Finding("accounts", "fail", error.message, error.next_step)
        return
    for account in accounts:
        yield from asyncio.run(_probe(account, account.api_base or settings.api_base))


async def _probe(account: Account, base: str) -> list[Finding]:
    """One request per list that needs no parent, with limit=1: which objects may this key read?"""
    import aiohttp

    headers = {"Authorization": f"Bearer {account.key}", "Stripe-Version": API_VERSION}
    findings: list[Finding] = []
    context = ssl.create_default_context()
    async with aiohttp.ClientSession(
        headers=headers,
        trust_env=True,
        timeout=aiohttp.ClientTimeout(total=20),
        connector=aiohttp.TCPConnector(limit=8, ssl=context),
    ) as session:

        async def ask(path: str) -> tuple[int, dict[str, object], str | None]:
            async with session.get(f"{base.rstrip('/')}{path}") as answer:
                try:
                    body = await answer.json(content_type=None)
                except ValueError:
                    body = None
                return answer.status, body if isinstance(body, dict) else {}, answer.headers.get("Date")

        try:
            status, body, date = await ask("/v1/balance")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return [
                Finding(
                    f"{account.name}: connection",
                    "fail",
                    f"{base} does not answer ({type(error).__name__})",
                    "Check STRIPE_API_BASE, HTTPS_PROXY and SSL_CERT_FILE.",
                )
            ]
        if not body or ("object" not in body and "error" not in body):
            return [
                Finding(
                    f"{account.name}: connection",
                    "fail",
                    f"{base} answers, but not as Stripe does",
                    "Check STRIPE_API_BASE.",
                )
            ]
        if status == 401:
            return [Finding(f"{account.name}: key", "fail", "the key is not accepted", "Set a valid key.")]
        mode = {True: "live", False: "test"}.get(body.get("livemode"), "unknown mode")  # type: ignore[call-overload]
        hint = "MRR counts live subscriptions only; the other tables are filled." if mode == "test" else ""
        findings.append(Finding(f"{account.name}: key", "ok", f"accepted, {mode}", hint))
        if date:
            skew = abs(parsedate_to_datetime(date).timestamp() - time.time())
            simulated = "127.0.0.1" in base or "localhost" in base
            bad = skew > _CLOCK_TOLERANCE and not simulated
            findings.append(
                Finding(
                    f"{account.name}: clock",
                    "warn" if bad else "ok",
                    f"{skew:,.0f} s from Stripe's",
                    "Synchronise this machine's clock; webhook signatures depend on it." if bad else "",
                )
            )
        lists = [row for row in CATALOGUE.values() if row.path and row.strategy in ("window", "chain")]
        answers = await asyncio.gather(*(ask(f"{row.path}?limit=1") for row in lists), return_exceptions=True)
        denied, failed = [], []
        for row, reply in zip(lists, answers, strict=True):
            if isinstance(reply, BaseException):
                failed.append(row.name)
            elif reply[0] == 403:
                denied.append(row.name)
            elif reply[0] != 200:
                failed.append(row.name)
        readable = len(lists) - len(denied) - len(failed)
        findings.append(
            Finding(
                f"{account.name}: objects",
                "ok" if readable else "fail",
                f"{readable} of {len(lists)} lists readable",
            )
        )
        if denied:
            findings.append(
                Finding(
                    f"{account.name}: not permitted",
                    "warn",
                    ", ".join(denied),
                    "Give the restricted key read permission for them, or live without them.",
                )
            )
        if failed:
            findings.append(
                Finding(f"{account.name}: not readable", "warn", ", ".join(failed), "See the log of a refresh.")
            )
    return findings
