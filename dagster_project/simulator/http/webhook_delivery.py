"""Events to registered endpoints: signed as Stripe signs them, in the background, at least once.

What is to be sent, and when next, is kept in the store with the bytes, so that a restart goes on with the same ones.
Times are wall time. Source: https://docs.stripe.com/webhooks#behaviors.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from dagster_project.simulator.engine import webhooks
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http.faults import Faults

Object = dict[str, Any]
CONCURRENCY = 8
SHARE = 4  # of it for one endpoint
_HOUR = 3600.0
# Seconds between the tries. Stripe's own: three days with exponential backoff, in a sandbox three tries in some hours.
RETRIES: dict[str, tuple[float, ...]] = {
    "fast": (0.5, 2.0, 5.0, 15.0),
    "sandbox": (_HOUR / 2, 2 * _HOUR),
    "live": (300.0, 1800.0, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, *(12 * _HOUR,) * 4),
}
log = logging.getLogger(__name__)


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine; the simulator delivers nowhere else."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https"):
        return False
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def signature(payload: bytes, secrets: Sequence[str], timestamp: int) -> str:
    """The Stripe-Signature header: HMAC-SHA256 of `<timestamp>.<body>` under each secret of the endpoint."""
    signed = b"%d.%b" % (timestamp, payload)
    macs = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={timestamp}", *(f"v1={mac}" for mac in macs)])


@dataclass(frozen=True)
class _Delivery:
    id: int
    account: str
    endpoint: str
    event: str
    body: bytes
    tries: list[Object]


class Deliverer:
    """Works off the deliveries of all accounts. `failed` are events that some endpoint has not taken, but was tried."""

    def __init__(self, world: World, lock: asyncio.Lock, failed: set[str], faults: Callable[[], Faults]) -> None:
        self.failed = failed
        self.delivered = 0
        self._world = world
        self._lock = lock
        self._faults = faults
        self._random = random.Random(world.seed)
        self._wake = asyncio.Event()
        self._underway: dict[int, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        rows = self._sql("select distinct event from delivery where state != 'delivered' and tries != '[]'")
        failed.update(event for (event,) in rows)

    @property
    def pending(self) -> int:
        """Deliveries that wait for their first or their next try."""
        return int(self._sql("select count(*) from delivery where state = 'waiting'")[0][0])

    def deliveries(self, endpoint: str | None = None) -> list[Object]:
        """Every delivery, oldest first: `state` is waiting, delivered, failed or dropped. Needs the lock."""
        rows = self._sql(
            "select endpoint, event, type, state, due, tries from delivery where ? in ('', endpoint) order by id",
            endpoint or "",
        )
        names = ("endpoint", "event", "type", "state", "due", "tries")
        return [{**dict(zip(names, row, strict=True)), "tries": msgspec.json.decode(row[5])} for row in rows]

    def wake(self) -> None:
        """There may be something new to deliver."""
        self._wake.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        tasks = [task for task in (self._task, *self._underway.values()) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- when -------------------------------------------------------------------------------------------------
    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                self._wake.clear()
                async with self._lock:
                    self._plan()
                    rows, following = self._due()
                for row in rows:
                    task = asyncio.create_task(self._attempt(session, row))
                    self._underway[row.id] = task
                    task.add_done_callback(lambda _, id=row.id: self._finished(id))  # type: ignore[misc]
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), None if following is None else max(following, 0.001))

    def _finished(self, id: int) -> None:
        self._underway.pop(id, None)
        self._wake.set()

    def _plan(self) -> None:
        """When the new ones are due, and which of them are sent twice."""
        new = self._sql("select id from delivery where due is null and state = 'waiting' order by id")
        faults = self._faults()
        for (id,) in new:
            times = 2 if self._random.random() < faults.webhook_twice_rate else 1
            for number in range(times):
                due = time.time() + faults.webhook_delay_s + self._random.random() * faults.webhook_jitter_s
                if number == 0:
                    self._sql("update delivery set due = ? where id = ?", due, id)
                else:
                    self._sql(
                        "insert into delivery (endpoint, event, type, account, body, due)"
                        " select endpoint, event, type, account, body, ? from delivery where id = ?",
                        due, id,
                    )  # fmt: skip

    def _due(self) -> tuple[list[_Delivery], float | None]:
        """(what is to be sent now, seconds until there is more; None: when something new comes or a task ends)."""
        room = CONCURRENCY - len(self._underway)
        if room <= 0:
            return [], None
        busy = ", ".join(map(str, self._underway)) or "0"
        # One that hangs must not hold up the others, so each has a share of the room.
        rows = self._sql(
            f"""
            select id, account, endpoint, event, body, tries, due from (
                select *, row_number() over (partition by endpoint order by due, id) + (
                    select count(*) from delivery as u where u.endpoint = d.endpoint and u.id in ({busy})) as place
                from delivery as d where state = 'waiting' and due is not null and id not in ({busy})
            ) where place <= ? or due > ? order by due, id limit ?
            """,
            SHARE, time.time(), room + 1,
        )  # fmt: skip
        now = time.time()
        due = [row for row in rows if row[6] <= now][:room]
        later = next((row[6] - now for row in rows[len(due) :]), None)
        found = [
            _Delivery(id, account, endpoint, event, bytes(body), msgspec.json.decode(tries))
            for id, account, endpoint, event, body, tries, _ in due
        ]
        return found, None if len(due) == room else later

    # ---- what -------------------------------------------------------------------------------------------------
    async def _attempt(self, session: aiohttp.ClientSession, row: _Delivery) -> None:
        try:
            await self._deliver(session, row)
        except Exception:
            # Given up, because it would fail again at once and for ever.
            log.exception("Delivering %s to %s failed", row.event, row.endpoint)
            async with self._lock:
                self._sql("update delivery set state = 'failed' where id = ?", row.id)

    async def _deliver(self, session: aiohttp.ClientSession, row: _Delivery) -> None:
        async with self._lock:
            owner = self._world.within(row.account) if row.account else self._world
            endpoint = owner.store.get(row.endpoint, "webhook_endpoint")
            now = time.time()
            if row.endpoint not in owner.meta.get("webhooks", {}) or not endpoint or endpoint["status"] != "enabled":
                self._sql("update delivery set state = 'dropped' where id = ?", row.id)
                self.failed.discard(row.event)
                return
            url, signed_with = endpoint["url"], webhooks.secrets(owner, row.endpoint, now)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(row.body, signed_with, int(now)),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        outcome = await self._post(session, url, row.body, headers)
        async with self._lock:
            self._tried(owner, row, {"at": now, "answer": outcome})

    async def _post(self, session: aiohttp.ClientSession, url: str, body: bytes, headers: dict[str, str]) -> int | str:
        """The status of the answer, or why there is none. A redirect is an answer like any other that is no 2xx."""
        timeout = aiohttp.ClientTimeout(total=self._faults().webhook_timeout_s)
        try:
            async with session.post(url, data=body, headers=headers, allow_redirects=False, timeout=timeout) as answer:
                return answer.status
        except TimeoutError:
            return "timed out"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return type(error).__name__

    def _tried(self, owner: World, row: _Delivery, attempt: Object) -> None:
        """Needs the lock."""
        faults, answer = self._faults(), attempt["answer"]
        taken = isinstance(answer, int) and 200 <= answer < 300
        waits = RETRIES[faults.webhook_retries]
        tries = [*row.tries, attempt]
        if taken:
            state, due = "delivered", None
        elif len(tries) <= len(waits):
            state, due = "waiting", time.time() + waits[len(tries) - 1] / faults.webhook_speed
        else:
            state, due = "failed", None
            log.warning("%s was not taken by %s after %d tries", row.event, row.endpoint, len(tries))
        self._sql(
            "update delivery set state = ?, due = ?, tries = ? where id = ?",
            state, due, msgspec.json.encode(tries).decode(), row.id,
        )  # fmt: skip
        if taken:
            self.delivered += 1
            self._taken(row)
        else:
            self.failed.add(row.event)
        self._judge(owner, row.endpoint, taken)

    def _taken(self, row: _Delivery) -> None:
        """An event waits for as many endpoints as have not taken it once."""
        states = self._sql(
            "select max(state = 'delivered') and sum(state = 'delivered') = 1, endpoint = ? from delivery"
            " where event = ? group by endpoint",
            row.endpoint, row.event,
        )  # fmt: skip
        if any(once for once, mine in states if mine):
            account = msgspec.json.decode(row.body).get("account")
            store = (self._world.within(account) if account else self._world).store
            if (event := store.get(row.event, "event")) is not None:
                event["pending_webhooks"] = max(0, event["pending_webhooks"] - 1)
                store.save(event)
        missing = self._sql(
            "select 1 from delivery where event = ? group by endpoint having max(state = 'delivered') = 0"
            " and max(tries != '[]') = 1",
            row.event,
        )
        if not missing:
            self.failed.discard(row.event)

    def _judge(self, owner: World, id: str, taken: bool) -> None:
        """An endpoint that never answers well is disabled in the end, when that is asked for."""
        kept = owner.meta.get("webhooks", {}).get(id)
        if kept is None:
            return
        kept["failures"] = 0 if taken else kept.get("failures", 0) + 1
        limit = self._faults().webhook_disable_after
        if limit and kept["failures"] >= limit:
            endpoint = owner.the(id, "webhook_endpoint")
            endpoint["status"] = "disabled"
            owner.store.save(endpoint)

    def _sql(self, statement: str, *values: Any) -> list[Any]:
        return self._world.store.execute(statement, values).fetchall()
