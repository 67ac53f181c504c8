"""/_ledgerline/…: what a person or a test does to the simulator, beside Stripe's API."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dagster_project.simulator.http.api import Api
from dagster_project.simulator.http.api_errors import ApiError, missing, required_parameter
from dagster_project.simulator.http.faults import Faults, from_mapping

DAY = 86_400


def routes(api: Api, about: dict[str, Any]) -> list[Route]:
    """`about` is what the status says of the process: data directory, port."""

    async def status(request: Request) -> dict[str, Any]:
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
            "parameters": {name: store.meta.get(name) for name in ("seed", "customers", "months")},
            "objects": {} if busy else store.counts(),
            "requests": dict(sorted(api.requests.items())),
            "faults": api.faults.as_dict(),
            "webhooks": {
                "pending": api.deliverer.pending,
                "delivered": api.deliverer.delivered,
                "failed": len(api.deliverer.failed),
            },
        }

    async def advance(request: Request) -> dict[str, Any]:
        return await api.advance(_target(api.account.store.now, await _json(request)))

    async def faults(request: Request) -> dict[str, Any]:
        if request.method == "DELETE":
            api.faults = Faults()
        elif request.method == "POST":
            api.faults = from_mapping(await _json(request), api.faults)
        return api.faults.as_dict()

    async def keys(request: Request) -> dict[str, Any]:
        body = await _json(request)
        key, deny = body.get("key"), body.get("deny", [])
        if not isinstance(key, str) or not key:
            raise required_parameter("key")
        if not isinstance(deny, list) or not all(isinstance(each, str) for each in deny):
            raise ApiError(400, "Invalid array: deny takes names of lists, e.g. charges.", param="deny")
        api.denied[key] = deny
        return {"denied": len(deny)}

    async def dispute(request: Request) -> dict[str, Any]:
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

    return [
        Route("/_ledgerline/status", _answering(api, status), methods=["GET"]),
        Route("/_ledgerline/advance", _answering(api, advance), methods=["POST"]),
        Route("/_ledgerline/faults", _answering(api, faults), methods=["GET", "POST", "DELETE"]),
        Route("/_ledgerline/keys", _answering(api, keys), methods=["POST"]),
        Route("/_ledgerline/dispute", _answering(api, dispute), methods=["POST"]),
    ]


def instant(moment: int) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def dispute_for(api: Api, charge: dict[str, Any]) -> None:
    """Open a dispute over a charge now."""
    from dagster_project.simulator.engine.payments import dispute_opens

    dispute_opens(api.account.world, charge["id"])


def _answering(
    api: Api, run: Callable[[Request], Awaitable[dict[str, Any]]]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return Response(msgspec.json.encode(await run(request)), media_type="application/json")
        except ApiError as error:
            return Response(error.body(), error.status, media_type="application/json")

    return endpoint


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
            moment = datetime.fromisoformat(value)
            return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(value)
        return int(value) if name == "to" else now + int(value * (DAY if name == "days" else 1))
    except (ValueError, OverflowError):
        raise ApiError(400, f"Invalid {name}: {value!r}", param=name) from None
