"""A small server with Stripe's list rules whose every answer a test can decide, on a real socket."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from aiohttp import web

NOW = 1_800_000_000  # the server's clock, Unix seconds
ACCOUNT = "acct_unit0000000001"
Hook = Callable[[web.Request], web.StreamResponse | None]


class FakeStripe:
    """`lists` holds objects by path, in any order; `hook` may answer instead, e.g. with an error."""

    def __init__(self) -> None:
        self.now = NOW
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.hook: Hook = lambda request: None
        self.requests: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.account: dict[str, Any] | None = {
            "id": ACCOUNT, "object": "account", "created": NOW - 90 * 86_400, "country": "US",
            "default_currency": "usd",
        }  # fmt: skip
        self.balance: dict[str, Any] = {"object": "balance", "livemode": False, "available": [], "pending": []}
        self.url = ""

    def put(self, path: str, *objects: dict[str, Any]) -> None:
        """Create objects or replace those with the same id."""
        known = {one["id"]: one for one in self.lists.get(path, [])}
        known.update({one["id"]: one for one in objects})
        self.lists[path] = list(known.values())

    def announce(self, type_: str, about: dict[str, Any], *, number: int, created: int | None = None) -> None:
        """An event about an object."""
        made = self.now if created is None else created
        event = {
            "id": f"evt_{number:08}", "object": "event", "type": type_, "created": made, "api_version": "2020-08-27",
            "data": {"object": about}, "livemode": False, "pending_webhooks": 0,
        }  # fmt: skip
        self.put("/v1/events", event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests[request.path] += 1
        self.headers.append(dict(request.headers))
        found = self.hook(request)
        response = found if found is not None else self._normal(request)
        response.headers["Date"] = format_datetime(datetime.fromtimestamp(self.now, UTC), usegmt=True)
        response.headers["Request-Id"] = f"req_{sum(self.requests.values())}"
        return response

    def _normal(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == "/v1/account":
            return reply(self.account) if self.account else refusal(404, "Unrecognized request URL")
        if path == "/v1/balance":
            return reply(self.balance)
        folder, _, last = path.rpartition("/")
        if path not in self.lists and folder in self.lists:
            for one in self.lists[folder]:
                if one["id"] == last:
                    return reply(one)
            return refusal(404, f"No such object: {last}")
        return self._page(request, self.lists.get(path, []))

    def _page(self, request: web.Request, rows: list[dict[str, Any]]) -> web.StreamResponse:
        query = request.query
        ordered = sorted(rows, key=lambda one: one.get("created", 0), reverse=True)
        low, high = int(query.get("created[gte]", 0)), int(query.get("created[lte]", 2**40))
        ordered = [one for one in ordered if low <= one.get("created", 0) <= high]
        if "status" in query and query["status"] != "all":
            ordered = [one for one in ordered if one.get("status") == query["status"]]
        if after := query.get("starting_after"):
            ids = [one["id"] for one in ordered]
            if after not in ids:
                return refusal(400, f"No such starting_after: {after}")
            ordered = ordered[ids.index(after) + 1 :]
        limit = int(query.get("limit", 10))
        return reply(
            {"object": "list", "data": ordered[:limit], "has_more": len(ordered) > limit, "url": request.path}, indent=2
        )


def reply(body: Any, status: int = 200, *, indent: int | None = None, **headers: str) -> web.Response:
    """JSON as Stripe sends it."""
    return web.Response(
        body=json.dumps(body, indent=indent).encode(), status=status, headers=headers, content_type="application/json"
    )


def refusal(status: int, message: str, **headers: str) -> web.Response:
    return reply({"error": {"type": "invalid_request_error", "message": message}}, status, **headers)
