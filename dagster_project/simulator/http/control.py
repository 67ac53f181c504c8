"""/_ledgerline/…: what a person or a test does to the simulator, beside Stripe's API."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from dagster_project.simulator.calls.subscription_terms import LATEST
from dagster_project.simulator.calls.webhook_endpoints import new_secret
from dagster_project.simulator.engine import webhooks
from dagster_project.simulator.engine.scenarios import parameters_of
from dagster_project.simulator.engine.versions import VERSIONS
from dagster_project.simulator.http.access import LEVELS, Permissions
from dagster_project.simulator.http.accounts import Accounts
from dagster_project.simulator.http.api import Api
from dagster_project.simulator.http.api_errors import ApiError, missing, not_one_of, required_parameter
from dagster_project.simulator.http.faults import Faults, from_mapping

DAY = 86_400
log = logging.getLogger(__name__)


def routes(accounts: Accounts, about: dict[str, Any]) -> list[Route]:
    """`about` is what the status says of the process: data directory, port.

    What concerns one account concerns that of the key in the request, without one the main account.
    """

    async def status(request: Request) -> dict[str, Any]:
        api = accounts.of(request.headers)
        # While the clock advances the counts cannot be read, but whoever asks must learn that the simulator lives.
        busy = api.lock.locked()
        store = api.account.store
        return {
            "simulator": "ledgerline",
            **about,
            "pid": os.getpid(),
            "busy": busy,
            "now": store.now,
            "clock": instant(store.now).isoformat(),
            "account": api.account.id,
            "accounts": accounts.about(),
            "api_version": api.account.world.api_version,
            "parameters": parameters_of(store.meta),
            "objects": {} if busy else store.counts(),
            "requests": dict(sorted(api.traffic.requests.items())),
            "traffic": api.traffic.as_dict(),
            "faults": api.faults.as_dict(),
            "webhooks": {
                "pending": None if busy else api.deliverer.pending,
                "delivered": api.deliverer.delivered,
                "failed": len(api.deliverer.failed),
            },
        }

    async def traffic(request: Request) -> dict[str, Any]:
        api = accounts.of(request.headers)
        counted = api.traffic.as_dict()
        if request.method == "DELETE":
            api.traffic.reset()
        return counted

    async def advance(request: Request) -> dict[str, Any]:
        return await accounts.advance(_target(accounts.main.account.store.now, await _json(request)))

    async def faults(request: Request) -> dict[str, Any]:
        api = accounts.of(request.headers)
        if request.method == "DELETE":
            api.faults = Faults()
        elif request.method == "POST":
            api.faults = from_mapping(await _json(request), api.faults)
        return api.faults.as_dict()

    async def keys(request: Request) -> dict[str, Any]:
        body = await _json(request)
        key = body.get("key")
        if not isinstance(key, str) or not key:
            raise required_parameter("key")
        api = accounts.opened_by(key)
        api.permissions[key] = granted = _permissions(body, api.resources)
        return {"default": granted.default, "permissions": granted.levels}

    async def opened(request: Request) -> dict[str, Any]:
        if request.method == "GET":
            return {"accounts": accounts.about()}
        body = await _json(request)
        name, livemode = body.pop("name", ""), body.pop("livemode", True)
        if not isinstance(name, str) or not isinstance(livemode, bool):
            raise ApiError(400, "Say e.g. {name: acme, livemode: false}.", param="name")
        return await accounts.open(name, livemode, body)

    async def dispute(request: Request) -> dict[str, Any]:
        api = accounts.of(request.headers)
        charge = str((await _json(request)).get("charge", ""))
        async with api.lock:
            found = api.account.store.get(charge, "charge")
            if found is None:
                raise missing("charge", charge)
            dispute_for(api, found)
            api.announce()
            api.account.store.flush()
            rows, _ = api.account.store.page("dispute", where={"charge": charge}, limit=1)
        if not rows:
            raise ApiError(400, f"The charge {charge} cannot be disputed.", param="charge")
        return dict(msgspec.json.decode(rows[0]))

    async def api_version(request: Request) -> dict[str, Any]:
        api = accounts.of(request.headers)
        version = (await _json(request)).get("api_version")
        if version not in VERSIONS:
            raise ApiError(400, f"Say one of {', '.join(VERSIONS)}.", param="api_version")
        async with api.lock:
            api.account.store.meta["api_version"] = version
            api.account.store.flush()
        return {"api_version": version}

    async def roll_secret(request: Request) -> dict[str, Any]:
        api = accounts.of(request.headers)
        body = await _json(request)
        seconds = body.get("expires_in", DAY)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= DAY:
            raise ApiError(400, "Say for how many seconds the old secret goes on, up to a day.", param="expires_in")
        async with api.lock:
            world, id = api.account.world, str(body.get("endpoint", ""))
            if id not in world.meta.get("webhooks", {}):
                raise missing("webhook_endpoint", id)
            secret = new_secret(world)
            webhooks.roll(world, world.the(id, "webhook_endpoint"), secret, time.time() + seconds)
            world.store.flush()
        return {"secret": secret}

    async def deliveries(request: Request) -> dict[str, Any]:
        api = accounts.of(request.headers)
        async with api.lock:
            return {"deliveries": api.deliverer.deliveries(request.query_params.get("endpoint"))}

    def route(name: str, run: Callable[[Request], Awaitable[dict[str, Any]]], *methods: str) -> Route:
        # With every method, because the refusal of the others must be JSON, too.
        return Route(f"/_ledgerline/{name}", _Control(run, methods))

    return [
        route("status", status, "GET"),
        route("traffic", traffic, "GET", "DELETE"),
        route("advance", advance, "POST"),
        route("faults", faults, "GET", "POST", "DELETE"),
        route("keys", keys, "POST"),
        route("accounts", opened, "GET", "POST"),
        route("dispute", dispute, "POST"),
        route("api_version", api_version, "POST"),
        route("roll_secret", roll_secret, "POST"),
        route("deliveries", deliveries, "GET"),
    ]


def instant(moment: int) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def dispute_for(api: Api, charge: dict[str, Any]) -> None:
    """Open a dispute over a charge now."""
    from dagster_project.simulator.engine.disputes import dispute_opens

    dispute_opens(api.account.world, charge["id"])


def _permissions(body: dict[str, Any], known: Collection[str]) -> Permissions:
    """`permissions` maps lists or kinds to none, read or write; `default` is for all others; `deny` is short for none.

    Raises ApiError 400 for a list that does not exist or another level.
    """
    levels, default, deny = body.get("permissions", {}), body.get("default", "write"), body.get("deny", [])
    if not isinstance(deny, list) or not isinstance(levels, dict):
        raise ApiError(400, "Invalid permissions: say e.g. {charges: read}, or deny: [charges].", param="permissions")
    levels = {**levels, **dict.fromkeys(map(str, deny), "none")}
    for name, level in [*levels.items(), ("default", default)]:
        if name not in known and name != "default":
            raise ApiError(400, f"Unknown list or kind: {name}", param="permissions")
        if level not in LEVELS:
            raise not_one_of(name, LEVELS)
    return Permissions(levels, default)


class _Control:
    """An endpoint beside Stripe's API: JSON in, JSON out, refusals in Stripe's envelope."""

    def __init__(self, run: Callable[[Request], Awaitable[dict[str, Any]]], methods: tuple[str, ...]) -> None:
        self._run, self._methods = run, methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            if request.method not in self._methods:
                raise ApiError(405, f"Say {' or '.join(self._methods)}.", headers={"Allow": ", ".join(self._methods)})
            answer = Response(msgspec.json.encode(await self._run(request)), media_type="application/json")
        except ApiError as error:
            answer = Response(error.body(), error.status, error.headers, "application/json")
        except ClientDisconnect:
            return
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
            failed = ApiError(500, "Something in the simulator failed; its log has the cause.", type="api_error")
            answer = Response(failed.body(), failed.status, media_type="application/json")
        await answer(scope, receive, send)


async def _json(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        value = msgspec.json.decode(body) if body else {}
    except msgspec.DecodeError:
        value = None
    if not isinstance(value, dict):
        raise ApiError(400, "The body must be a JSON object.")
    return value


def _target(now: int, body: dict[str, Any]) -> int:
    """Where the clock goes: `to` (Unix seconds or ISO 8601), `days` or `seconds`."""
    given = [name for name in ("to", "days", "seconds") if body.get(name) is not None]
    if len(given) != 1:
        raise ApiError(400, "Say exactly one of: to, days, seconds.", param="to")
    name, value = given[0], body[given[0]]
    try:
        if name == "to" and isinstance(value, str):
            at = datetime.fromisoformat(value)
            value = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(value)
        moment = int(value) if name == "to" else now + int(value * (DAY if name == "days" else 1))
    except (ValueError, OverflowError):
        raise ApiError(400, f"Invalid {name}: {value!r}", param=name) from None
    if moment < now:
        raise ApiError(400, "The clock only moves forward.", param=name)
    if moment > LATEST:
        raise ApiError(400, "The clock does not go beyond the year 2100.", param=name)
    return moment
