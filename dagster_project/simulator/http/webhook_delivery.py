"""Events to registered endpoints: signed as Stripe signs them, in the background, a few tries each."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import logging
import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from dagster_project.simulator.engine.store import Store

Object = dict[str, Any]
CONCURRENCY = 8
TIMEOUT_S = 10.0
RETRY_AFTER_S = (0.5, 2.0, 5.0, 15.0)
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


def signature(payload: bytes, secret: str, timestamp: int) -> str:
    """The Stripe-Signature header: HMAC-SHA256 of `<timestamp>.<body>` under the endpoint's secret."""
    mac = hmac.new(secret.encode(), b"%d.%b" % (timestamp, payload), hashlib.sha256)
    return f"t={timestamp},v1={mac.hexdigest()}"


class Deliverer:
    """Queues (endpoint, event) pairs; `failed` are events that an endpoint never took."""

    def __init__(self, store: Store, lock: asyncio.Lock, failed: set[str]) -> None:
        self.failed = failed
        self.delivered = 0
        self._store = store
        self._lock = lock
        self._queue: asyncio.Queue[tuple[str, str, int]] = asyncio.Queue()
        self._waiting = 0
        self._tasks: list[asyncio.Task[None]] = []

    def endpoints(self) -> list[Object]:
        return [each for each in self._store.all("webhook_endpoint") if each["status"] == "enabled"]

    @property
    def pending(self) -> int:
        """Deliveries that wait for their first or their next try."""
        return self._queue.qsize() + self._waiting

    def enqueue(self, event: Object) -> int:
        """Queue an event for every endpoint that listens to its type; how many do."""
        listening = [
            each["id"]
            for each in self.endpoints()
            if "*" in each["enabled_events"] or event["type"] in each["enabled_events"]
        ]
        for endpoint in listening:
            self._queue.put_nowait((endpoint, event["id"], 0))
        return len(listening)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._work()) for _ in range(CONCURRENCY)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                endpoint, event, tries = await self._queue.get()
                self._waiting += 1
                try:
                    taken = await self._deliver(session, endpoint, event)
                except Exception:
                    log.exception("Delivering %s to %s failed", event, endpoint)
                    taken = False
                if taken:
                    self._waiting -= 1
                    self.delivered += 1
                    self.failed.discard(event)
                elif tries < len(RETRY_AFTER_S):
                    self.failed.add(event)
                    asyncio.get_running_loop().call_later(RETRY_AFTER_S[tries], self._again, endpoint, event, tries + 1)
                else:
                    self._waiting -= 1
                    log.warning("%s was not taken by %s after %d tries", event, endpoint, tries + 1)

    def _again(self, endpoint: str, event: str, tries: int) -> None:
        self._waiting -= 1
        self._queue.put_nowait((endpoint, event, tries))

    async def _deliver(self, session: aiohttp.ClientSession, endpoint_id: str, event_id: str) -> bool:
        """Whether the endpoint answered 2xx; a deleted endpoint or a pruned event counts as taken."""
        async with self._lock:
            endpoint = self._store.get(endpoint_id, "webhook_endpoint")
            event = self._store.get(event_id, "event")
            if not endpoint or endpoint.get("deleted") or event is None:
                return True
            payload = msgspec.json.encode(event)
            secret = self._store.meta["webhook_secrets"][endpoint_id]
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(payload, secret, int(time.time())),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        try:
            async with session.post(endpoint["url"], data=payload, headers=headers, allow_redirects=False) as answer:
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
