"""One request after the other: who asks, which fault strikes, what is answered, and the headers around it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import logging
import re
import time
from collections import Counter
from email.utils import formatdate
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dagster_project.simulator.engine import ids
from dagster_project.simulator.http import access, forms, idempotency
from dagster_project.simulator.http.api_errors import ApiError, unknown_url
from dagster_project.simulator.http.faults import Dice, Faults, Limiter
from dagster_project.simulator.http.routes import Account, Call, Endpoint, router
from dagster_project.simulator.http.webhook_delivery import Deliverer

API_VERSION = "2026-10-28.endive"
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z]+)?")
_MAX_BODY = 1_000_000
log = logging.getLogger(__name__)


class Broken(Response):
    """An answer that promises more than it sends, or a connection that ends without an answer."""

    def __init__(self, body: bytes, headers: dict[str, str], *, reset: bool) -> None:
        super().__init__(body, headers=headers, media_type="application/json")
        self.reset = reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = scope.get("ledgerline.transport")
        if not self.reset:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send(
                {"type": "http.response.body", "body": bytes(self.body)[: len(self.body) // 2], "more_body": True}
            )
        if transport is not None:
            transport.abort() if self.reset else transport.close()


class Api:
    """The API of one account. `lock` is held by whoever uses the store."""

    def __init__(self, account: Account, faults: Faults) -> None:
        self.account = account
        self.faults = faults
        self.lock = asyncio.Lock()
        self.deliverer = Deliverer(account.store, self.lock, account.failed_events)
        self.limiter = Limiter()
        self.dice = Dice(account.world.seed)
        self.denied: dict[str, list[str]] = {}
        self.requests: Counter[str] = Counter()
        self._router = router()
        self._numbers = itertools.count(account.store.meta.get("requests", 0) + 1)

    async def __call__(self, request: Request) -> Response:
        headers = {
            "Request-Id": self._request_id(),
            "Stripe-Version": request.headers.get("stripe-version", API_VERSION),
            "Date": formatdate(self.account.store.now, usegmt=True),
            "Cache-Control": "no-cache, no-store",
        }
        try:
            return await self._answer(request, headers)
        except ApiError as error:
            headers |= error.headers
            return Response(error.body(), error.status, headers, "application/json")
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
            unknown = ApiError(500, "Something in the simulator failed; its log has the cause.", type="api_error")
            return Response(unknown.body(), 500, headers, "application/json")

    async def _answer(self, request: Request, headers: dict[str, str]) -> Response:
        path = request.url.path
        found = self._router.find(request.method, path)
        label = f"{request.method} {found[0] if found else 'unknown'}"
        self.requests[label] += 1
        body = await _body(request)
        if seconds := self.dice.delay(self.faults):
            await asyncio.sleep(seconds)
        key = access.key_of(request.headers)
        access.check_account(request.headers, key, self.account.id)
        version = headers["Stripe-Version"]
        if not _VERSION.fullmatch(version):
            headers["Stripe-Version"] = API_VERSION
            raise ApiError(400, f"Invalid Stripe API version: {version}")
        self.limiter.check(self.faults, label)
        struck = path.startswith(self.faults.path)
        if struck and self.dice.happens(self.faults.error_rate):
            raise ApiError(500, "An error occurred while processing your request.", type="api_error")
        if found is None:
            raise unknown_url(request.method, path)
        _, endpoint, path_ids = found
        access.check_permission(
            self.denied.get(key, []), key, endpoint.name, endpoint.kind, request.method, self.account.id
        )
        encoded = "&".join(filter(None, (request.url.query, body.decode(errors="replace"))))
        call = Call(request.method, path, path_ids, forms.parse(encoded))
        async with self.lock:
            answer = self._changed(endpoint, call, request, headers) if request.method != "GET" else None
            if answer is None:
                answer = Response(endpoint.run(self.account, call), 200, headers, "application/json")
        if struck and self.dice.happens(self.faults.reset_rate):
            return Broken(bytes(answer.body), headers, reset=True)
        if struck and self.dice.happens(self.faults.truncate_rate):
            return Broken(bytes(answer.body), headers, reset=False)
        return answer

    def _changed(self, endpoint: Endpoint, call: Call, request: Request, headers: dict[str, str]) -> Response:
        """A call that changes something: whole or not at all, and at most once per idempotency key."""
        store, key = self.account.store, request.headers.get("idempotency-key")
        fingerprint = hashlib.sha256(repr((call.method, call.path, call.params)).encode()).hexdigest()
        if key is not None:
            headers["Idempotency-Key"] = key
            if (earlier := idempotency.find(store, key, fingerprint)) is not None:
                headers |= {"Idempotent-Replayed": "true", "Original-Request": earlier.request_id}
                return Response(earlier.body, earlier.status, headers, "application/json")
            headers["Original-Request"] = headers["Request-Id"]
        announced = len(self.account.world.new_events)
        try:
            with store.atomic():
                status, body = _run(endpoint, self.account, call)
                if key is not None:
                    idempotency.keep(store, key, fingerprint, status, body, headers["Request-Id"])
        except BaseException:
            del self.account.world.new_events[announced:]
            raise
        self.announce(headers["Request-Id"], key)
        store.flush()
        return Response(body, status, headers, "application/json")

    def announce(self, request_id: str | None = None, idempotency_key: str | None = None) -> int:
        """Hand the events that are new to the endpoints; the number of events. Needs the lock."""
        store, world = self.account.store, self.account.world
        events, world.new_events = world.new_events, []
        if request_id or self.deliverer.endpoints():
            for id in events:
                event = store.get(id, "event")
                if event is None:
                    continue
                if request_id:
                    event["request"] = {"id": request_id, "idempotency_key": idempotency_key}
                event["pending_webhooks"] = self.deliverer.enqueue(event)
                store.save(event)
        return len(events)

    async def advance(self, to: int) -> dict[str, Any]:
        """Move the clock to `to`; other requests wait. Raises ApiError 400 for an instant in the past."""
        async with self.lock:
            start = time.monotonic()
            try:
                await asyncio.to_thread(self.account.world.advance, to)
            except ValueError as error:
                raise ApiError(400, f"The clock only moves forward: {error}", param="to") from None
            events = self.announce()
            self.account.store.flush()
            return {"now": self.account.store.now, "events": events, "seconds": round(time.monotonic() - start, 3)}

    def _request_id(self) -> str:
        number = next(self._numbers)
        self.account.store.meta["requests"] = number
        return ids.make(self.account.world.seed, "req", number)[:18]


def _run(endpoint: Endpoint, account: Account, call: Call) -> tuple[int, bytes]:
    """A declined card is an answer (402): what was attempted stays on record."""
    try:
        return 200, endpoint.run(account, call)
    except ApiError as error:
        if error.status != 402:
            raise
        return error.status, error.body()


async def _body(request: Request) -> bytes:
    if request.method == "GET":
        return b""
    with contextlib.suppress(ValueError):
        if int(request.headers.get("content-length", 0)) > _MAX_BODY:
            raise ApiError(413, "The request body is too large.")
    body = await request.body()
    if body and "json" in request.headers.get("content-type", ""):
        raise ApiError(400, "Invalid request: v1 bodies are form-encoded (application/x-www-form-urlencoded).")
    return body
