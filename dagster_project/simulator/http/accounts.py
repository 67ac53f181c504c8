"""Several accounts behind one address, and test mode beside live: the key of a request says which one it is about.

Each account and mode has its own objects, limits, faults, permissions and traffic, as at Stripe
(https://docs.stripe.com/keys, https://docs.stripe.com/rate-limits); they share the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dagster_project.errors import UsageError
from dagster_project.simulator.engine import accounts, ids, scenarios, shapes
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.history import make
from dagster_project.simulator.http import access
from dagster_project.simulator.http.api import Api
from dagster_project.simulator.http.api_errors import ApiError
from dagster_project.simulator.http.faults import Faults
from dagster_project.simulator.http.routes import Account

MAIN = ""
_KEY = re.compile(r"[sr]k_(live|test)_(\w*)")
_NAME = re.compile(r"[a-z0-9]{1,20}")


@dataclass(frozen=True, order=True)
class Name:
    """What a key says: `sk_test_acme_1` is the test mode of `acme`; the account that was there first has no name."""

    name: str
    livemode: bool

    @property
    def mode(self) -> str:
        return "live" if self.livemode else "test"

    @property
    def keys(self) -> str:
        return f"sk_{self.mode}_{self.name or '…'}"


class Accounts:
    """`main` is the account that every key opens which names none, and whose test mode is not there."""

    def __init__(self, main: Api, folder: Path) -> None:
        self.main = main
        self._folder = folder
        self._others: dict[Name, Api] = {}
        self._delivers = False
        self._opening = asyncio.Lock()
        for path in sorted(folder.glob("*-*.sqlite")):
            name, _, mode = path.stem.rpartition("-")
            self._others[Name("" if name == "main" else name, mode == "live")] = _api(Store(path))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer: Api | Response = self.of(Headers(scope=scope))
        except ApiError as error:
            answer = self.main.refused(error)
        await answer(scope, receive, send)

    def __iter__(self) -> Iterator[tuple[Name, Api]]:
        yield Name(MAIN, self.main.account.world.livemode), self.main
        yield from sorted(self._others.items(), key=lambda each: each[0])

    def of(self, headers: Mapping[str, str]) -> Api:
        """The account of the key in the headers; without one the main account. Raises ApiError 401."""
        if not self._others or "authorization" not in headers:
            return self.main
        return self.opened_by(access.key_of(headers))

    def opened_by(self, key: str) -> Api:
        """The account that a key opens. Raises ApiError 401 for a mode that a named account does not have."""
        asked = _KEY.fullmatch(key)
        if asked is None:
            return self.main
        live, rest = asked[1] == "live", asked[2]
        name = max(
            (one.name for one in self._others if rest == one.name or rest.startswith(f"{one.name}_")),
            key=len, default=MAIN,
        )  # fmt: skip
        found = self._others.get(Name(name, live))
        if found is None and name != MAIN:
            raise ApiError(401, f"Invalid API Key provided: {access.masked(key)}")
        return found or self.main

    async def open(self, name: str, livemode: bool, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Open an account, or the test mode of one; `asked` is its business (see `scenarios`), empty for none.

        The modes of an account have the same account id. Raises ApiError 400 for a name that is taken or no name, and
        for a business that cannot be.
        """
        async with self._opening:
            return await self._open(Name(name, livemode), asked)

    async def _open(self, opened: Name, asked: Mapping[str, Any]) -> dict[str, Any]:
        name = opened.name
        fits = (name == MAIN and not opened.livemode) or (_NAME.fullmatch(name) and name != "main")
        if not fits or opened in self._others:
            raise ApiError(400, "Say a name of lower case letters and digits that no account has yet.", param="name")
        if unknown := sorted(set(asked) - set(scenarios.DEFAULTS)):
            raise ApiError(400, f"Unknown parameter: {unknown[0]}", param=unknown[0])
        try:
            business = scenarios.completed({"seed": _seed(opened), **asked}) if asked else None
        except UsageError as error:
            raise ApiError(400, str(error), param="scenario") from None
        if business and business["scenario"] == scenarios.FLAT and not opened.livemode:
            raise ApiError(400, "The scenario flat has live data only.", param="scenario")
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{name or 'main'}-{opened.mode}.sqlite"
        await asyncio.to_thread(self._make, path, opened, business)
        self._others[opened] = api = _api(Store(path))
        if self._delivers:
            api.deliverer.start()
        return self._about(opened, api)

    def _make(self, path: Path, opened: Name, business: scenarios.Parameters | None) -> None:
        """Under another name until it is whole."""
        making = path.with_suffix(".making")
        making.unlink(missing_ok=True)
        with contextlib.closing(Store(making)) as store:
            self._fill(store, opened, business)
        making.replace(path)

    def _fill(self, store: Store, opened: Name, business: scenarios.Parameters | None) -> None:
        world = World(store)
        id = self.main.account.id if opened.name == MAIN else ids.make(_seed(Name(opened.name, True)), "acct", 1)[:21]
        world.meta.update(account=id, livemode=opened.livemode)
        if business is not None:
            make(world, business, progress=lambda line: None)
        else:
            world.meta["seed"], store.now = _seed(opened), self.main.account.store.now
            with shapes.in_mode(opened.livemode):
                accounts.open_account(world, id=id, name=opened.name.title() or "Ledgerline Demo")
        with shapes.in_mode(opened.livemode):
            world.advance(max(store.now, self.main.account.store.now))
        world.new_events.clear()

    def about(self) -> list[dict[str, Any]]:
        """What the status tells of each."""
        return [self._about(name, api) for name, api in self]

    def _about(self, name: Name, api: Api) -> dict[str, Any]:
        return {
            "name": name.name, "livemode": name.livemode, "account": api.account.id, "keys": name.keys,
            "now": api.account.store.now, "parameters": scenarios.parameters_of(api.account.store.meta),
        }  # fmt: skip

    async def advance(self, to: int) -> dict[str, Any]:
        """Move the clock of all; what comes back is of the main account, with the events of all."""
        done = await self.main.advance(to)
        for api in self._others.values():
            done["events"] += (await api.advance(max(to, api.account.store.now)))["events"]
        return done

    def start(self) -> None:
        self._delivers = True
        for _, api in self:
            api.deliverer.start()

    async def stop(self) -> None:
        """Write everything down; the main account's store stays open."""
        for _, api in self:
            await api.deliverer.stop()
            async with api.lock:
                api.account.store.flush()
        for api in self._others.values():
            api.account.store.close()


def _api(store: Store) -> Api:
    return Api(Account(store, World(store)), Faults())


def _seed(name: Name) -> int:
    """So that no two accounts have the same ids, unless a seed is asked for."""
    return int.from_bytes(hashlib.blake2b(f"{name.name}/{name.mode}".encode(), digest_size=4).digest())
