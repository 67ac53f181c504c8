"""One request after the other: who asks, which fault strikes, what is answered, and the headers around it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import logging
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dagster_project.simulator.engine import ids, shapes
from dagster_project.simulator.engine.versions import PINNED
from dagster_project.simulator.engine.world import STEP
from dagster_project.simulator.http import access, broken, event_faults, forms, idempotency, limits, versions
from dagster_project.simulator.http.api_errors import ApiError, failure, unknown_url
from dagster_project.simulator.http.faults import Dice, Faults
from dagster_project.simulator.http.routes import Account, Call, Endpoint, router
from dagster_project.simulator.http.traffic import Traffic
from dagster_project.simulator.http.webhook_delivery import Deliverer

_MAX_BODY = 1_000_000
# Parameters whose object a call changes as it does the one in its path.
_CHANGED_TOO = ("charge", "payment_intent", "invoice", "subscription", "customer")
log = logging.getLogger(__name__)

Found = tuple[str, Endpoint, list[str]]


class Api:
    """The API of one account in one mode, and of those connected to it. `lock` is held by whoever uses the store."""

    def __init__(self, account: Account, faults: Faults) -> None:
        self.account = account
        self.faults = faults
        self.lock = asyncio.Lock()
        self.deliverer = Deliverer(account.world, self.lock, account.failed_events, lambda: self.faults)
        self.limiter = limits.Limiter()
        self.dice = Dice(account.world.seed)
        self.traffic = Traffic()
        self.permissions: dict[str, access.Permissions] = {}
        self._router = router()
        self._keys_in_use = idempotency.InUse()
        self._locks = limits.ObjectLocks()
        self._numbers = itertools.count(account.store.meta.get("requests", 0) + 1)

    @property
    def resources(self) -> set[str]:
        """What a restricted key may lack: lists by name, and kinds of objects."""
        return {name for endpoint in self._router.handlers() for name in (endpoint.name, endpoint.kind)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        found = self._router.find(request.method, _sent_path(scope))
        label = f"{request.method} {found[0]}" if found else "unknown"
        self.traffic.arrives(label)
        try:
            async with contextlib.AsyncExitStack() as held:
                held.enter_context(shapes.in_mode(self.account.world.livemode))
                answer = await self._answer(request, found, label, held)
                await answer(scope, receive, self.traffic.counted(send))
        finally:
            self.traffic.in_flight -= 1

    async def _answer(
        self, request: Request, found: Found | None, label: str, held: contextlib.AsyncExitStack
    ) -> Response:
        """Whatever happens, an answer in Stripe's form. What `held` holds is released when it is sent."""
        headers = self._headers()
        try:
            return await self._admitted(request, found, label, headers, held)
        except ApiError as error:
            headers |= error.headers
            return Response(error.body(), error.status, headers, "application/json")
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
            unknown = ApiError(500, "Something in the simulator failed; its log has the cause.", type="api_error")
            return Response(unknown.body(), 500, headers, "application/json")

    def refused(self, error: ApiError) -> Response:
        """The answer to a request that is for nobody here."""
        return Response(error.body(), error.status, self._headers() | error.headers, "application/json")

    def _headers(self) -> dict[str, str]:
        return {
            "Request-Id": self._request_id(),
            "Stripe-Version": PINNED,
            "Date": formatdate(self.account.store.now, usegmt=True),
            "Cache-Control": "no-cache, no-store",
        }

    async def _admitted(
        self,
        request: Request,
        found: Found | None,
        label: str,
        headers: dict[str, str],
        held: contextlib.AsyncExitStack,
    ) -> Response:
        """Who asks, whether they may, and whether there is room."""
        faults, path = self.faults, request.url.path
        body = await _body(request)
        self.traffic.bytes_received += len(body)
        key = access.key_of(request.headers)
        account = self.account
        if "stripe-account" in request.headers:
            async with self.lock:
                account = access.account_of(request.headers, key, self.account)
        versions.check(request.headers.get("stripe-version", PINNED))
        self.limiter.check(faults, label)
        held.enter_context(self.limiter.working(faults, label))
        if found is None:
            raise unknown_url(request.method, path)
        _, endpoint, path_ids = found
        permissions = self.permissions.get(key, access.UNRESTRICTED)
        permissions.check(key, endpoint.name, endpoint.kind, request.method, account.id)
        encoded = "&".join(filter(None, (request.url.query, body.decode(errors="replace"))))
        call = Call(request.method, _sent_path(request.scope), path_ids, forms.parse(encoded))
        if not path.startswith(faults.path) or faults.account not in ("", account.id):
            faults = Faults(faults.latency_ms, faults.jitter_ms, lock_wait_s=faults.lock_wait_s)
        if self.dice.happens(faults.resource_limit_rate):
            raise limits.limited("resource-specific")
        if self.dice.happens(faults.lock_timeout_rate):
            raise limits.lock_timeout()
        if call.method == "GET":
            answer = await self._read(account, endpoint, call, headers, faults)
        else:
            idempotency_key = request.headers.get("idempotency-key")
            answer = await self._changed(account, endpoint, call, idempotency_key, headers, faults, held)
        return self._damaged(answer, faults)

    async def _read(
        self, account: Account, endpoint: Endpoint, call: Call, headers: dict[str, str], faults: Faults
    ) -> Response:
        await self._wait(faults)
        if self.dice.happens(faults.error_rate):
            raise failure()
        async with self.lock:
            return Response(endpoint.run(account, call), 200, headers, "application/json")

    async def _changed(
        self,
        account: Account,
        endpoint: Endpoint,
        call: Call,
        key: str | None,
        headers: dict[str, str],
        faults: Faults,
        held: contextlib.AsyncExitStack,
    ) -> Response:
        """A call that changes something: whole or not at all, and at most once per idempotency key."""
        if call.method == "DELETE":
            key = None  # has no effect there, as the documentation says
        fingerprint = _fingerprint(call)
        if key is not None:
            headers["Idempotency-Key"] = key
            held.enter_context(self._keys_in_use.claim(account.id, key))
            async with self.lock:
                earlier = idempotency.find(account.store, key, fingerprint)
            if earlier is not None:
                headers |= {"Idempotent-Replayed": "true", "Original-Request": earlier.request_id}
                return Response(earlier.body, earlier.status, headers, "application/json")
            headers["Original-Request"] = headers["Request-Id"]
        touched = [*call.ids, *(value for name in _CHANGED_TOO if isinstance(value := call.params.get(name), str))]
        async with self._locks.holding((f"{account.id} {id}" for id in touched), faults.lock_wait_s):
            await self._wait(faults)
            async with self.lock:
                status, body = self._run(account, endpoint, call, key, fingerprint, headers["Request-Id"], faults)
        return Response(body, status, headers, "application/json")

    def _run(
        self,
        account: Account,
        endpoint: Endpoint,
        call: Call,
        key: str | None,
        fingerprint: str,
        request_id: str,
        faults: Faults,
    ) -> tuple[int, bytes]:
        """Carry out a call. Stripe keeps and repeats a 500 as it does any other outcome. Needs the lock."""
        store = account.store
        announced = self.account.world.announced()
        try:
            with self._concealing(), account.world.asked_by(request_id, key), store.atomic():
                if self.dice.happens(faults.error_rate):
                    status, body = 500, failure().body()
                else:
                    status, body = _outcome(endpoint, account, call)
                if self.dice.happens(faults.lost_rate):
                    status, body = 500, failure().body()
                if key is not None:
                    idempotency.keep(store, key, fingerprint, status, body, request_id)
                self.announce()
        except BaseException:
            self.account.world.unannounce(announced)
            raise
        store.flush()
        return status, body

    async def _wait(self, faults: Faults) -> None:
        if seconds := self.dice.delay(faults):
            await asyncio.sleep(seconds)

    def _damaged(self, answer: Response, faults: Faults) -> Response:
        if self.dice.happens(faults.reset_rate):
            return broken.Reset(answer.body)
        if self.dice.happens(faults.truncate_rate):
            return broken.Truncated(answer.body, answer.status_code, dict(answer.headers))
        if self.dice.happens(faults.slow_rate):
            return broken.slow(answer, faults.slow_bytes_per_s)
        return answer

    @contextlib.contextmanager
    def _concealing(self) -> Iterator[None]:
        """What is made inside becomes visible as late as the faults say."""
        before = {world.id_of_account: world.store.last for world in self.account.world.opened()}
        yield
        if self.faults.late_rate or self.faults.search_lag_s or self.faults.event_lag_s:
            for world in self.account.world.opened():
                id = world.id_of_account
                made = world.store.since(before.get(id, 0))
                self.account.reading.conceal(id, made, self._late)
                self.account.searching.conceal(id, made, lambda kind, id: self.faults.search_lag_s)

    def _late(self, kind: str, id: str) -> float:
        if kind == "event":
            return self.faults.event_lag_s
        unlucky = self.account.world.chance("late", id).random() < self.faults.late_rate
        return self.faults.late_seconds if unlucky else 0

    def announce(self) -> int:
        """Have the events that are new delivered; the number of events. Needs the lock."""
        total = 0
        for world in self.account.world.opened():
            event_faults.muddle(world, self.faults, self.dice)
            total += len(world.new_events)
            world.new_events = []
        self.deliverer.wake()
        return total

    async def advance(self, to: int) -> dict[str, Any]:
        """Move the clock to `to`, step by step; other requests wait for the end of a step.

        Raises ApiError 400 for an instant in the past, 500 when something that was due fails: then that step did not
        happen.
        """
        start, events = time.monotonic(), 0
        store = self.account.store
        while True:
            async with self.lock:
                if to < store.now:
                    raise ApiError(400, "The clock only moves forward.", param="to")
                step = min(to, store.now + STEP)
                # A caller who goes away, and the end of the process, wait for the step: two threads must not meet.
                moving = asyncio.ensure_future(asyncio.to_thread(self._step, step))
                try:
                    events += await asyncio.shield(moving)
                except asyncio.CancelledError:
                    await asyncio.wait([moving])
                    raise
                except Exception:
                    log.exception("What was due after %d failed", store.now)
                    raise ApiError(
                        500,
                        f"Something that was due failed, so the clock stands at {store.now}; the simulator's log has "
                        "the cause.",
                        type="api_error",
                    ) from None
                if step == to:
                    seconds = round(time.monotonic() - start, 3)
                    return {"now": store.now, "events": events, "seconds": seconds}

    def _step(self, to: int) -> int:
        """Advance, and hand the events to the endpoints; the number of events."""
        with self._concealing(), shapes.in_mode(self.account.world.livemode):
            self.account.world.advance(to)
            events = self.announce()
        self.account.store.flush()
        return events

    def _request_id(self) -> str:
        number = next(self._numbers)
        self.account.store.meta["requests"] = number
        return ids.make(self.account.world.seed, "req", number)[:18]


def _outcome(endpoint: Endpoint, account: Account, call: Call) -> tuple[int, bytes]:
    """A declined card is an answer (402): what was attempted stays on record."""
    try:
        return 200, endpoint.run(account, call)
    except ApiError as error:
        if error.status != 402:
            raise
        return error.status, error.body()


def _fingerprint(call: Call) -> str:
    """The same for calls that ask for the same, whatever the order of their parameters."""
    said = msgspec.json.encode((call.method, call.path, call.params), order="sorted")
    return hashlib.sha256(said).hexdigest()


def _sent_path(scope: Scope) -> str:
    """With its percent signs, so that an id may contain a slash."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("latin-1")


async def _body(request: Request) -> bytes:
    if request.method == "GET":
        return b""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY:
            raise ApiError(413, "The request body is too large.")
    if body and "json" in request.headers.get("content-type", ""):
        raise ApiError(
            400,
            "Invalid request (check that your POST content type is application/x-www-form-urlencoded). If you have any "
            "questions, we can help at https://support.stripe.com/.",
        )
    return bytes(body)
