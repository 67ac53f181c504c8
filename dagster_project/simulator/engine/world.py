"""The simulated account: its clocks, what is due when, its objects and the events that announce their changes."""

from __future__ import annotations

import contextlib
import heapq
import random
from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec

from dagster_project.simulator.engine import business, ids, shapes, webhooks
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.versions import PINNED, Renderer, previous_attributes

Object = dict[str, Any]
_encode = msgspec.json.Encoder().encode

AUTOMATIC: dict[str, str | None] = {"id": None, "idempotency_key": None}  # the `request` of what no call caused
ABSENT: Any = object()
STEP = 30 * business.DAY  # of the clock: what happens in it is in memory until it is durable

ACTIONS: dict[str, Callable[..., None]] = {}


def action(function: Callable[..., None]) -> Callable[..., None]:
    """Something that can become due on a clock: `world.later(at, function, …)` with arguments that fit into JSON."""
    ACTIONS[function.__name__] = function
    return function


class NotConnected(KeyError):
    """The account was never connected, or is not any more."""


class World:
    """One account. `advance` runs everything that is due, of the platform and of its connected accounts.

    Everything that lasts lives in the store's meta, so a restart continues exactly, and what an exception took back is
    as it was. A test clock is a timeline of its own: within `on(clock)`, `now` and `later` are that clock's.
    """

    def __init__(self, store: Store, platform: World | None = None) -> None:
        self.store = store
        self.platform = platform or self
        self.new_events: list[str] = []
        self.clock: str | None = None
        self.request: dict[str, str | None] = dict(AUTOMATIC)
        self._accounts: dict[str, World] = {}

    # ---- what lasts ----------------------------------------------------------------------------------------
    @property
    def meta(self) -> dict[str, Any]:
        return self.store.meta

    @property
    def seed(self) -> int:
        return int(self.platform.meta.get("seed", 7))

    @property
    def livemode(self) -> bool:
        """Live data, or the test data of an account, which is a world apart."""
        return bool(self.platform.meta.get("livemode", True))

    @property
    def business(self) -> type[business.Saas]:
        """The numbers of the business that is simulated."""
        return business.SCENARIOS[self.platform.meta.get("scenario", "saas")]

    @property
    def balance(self) -> dict[str, dict[str, int]]:
        """Currency -> what is available and pending, in minor units: kept here, not summed up from its rows."""
        return self.meta.setdefault("balance", {})

    @property
    def unpaid(self) -> dict[str, list[list[Any]]]:
        """Currency -> [balance transaction, net] that are available and in no payout yet."""
        return self.meta.setdefault("unpaid", {})

    @property
    def pending(self) -> list[list[Any]]:
        """Heap of [available_on, balance transaction, net, currency]."""
        return self.meta.setdefault("pending", [])

    @property
    def id_of_account(self) -> str:
        return str(self.meta.get("account", "acct_simulator"))

    # ---- connected accounts --------------------------------------------------------------------------------
    def within(self, account: str) -> World:
        """The world of a connected account of this platform. Raises NotConnected for any other."""
        if account == self.id_of_account:
            return self
        if account not in self.meta.get("accounts", ()):
            raise NotConnected(account)
        store = self.store.within(account)
        if account not in self._accounts or self._accounts[account].store is not store:
            self._accounts[account] = World(store, self)
            store.meta["account"] = account
        return self._accounts[account]

    def accounts(self) -> list[World]:
        """This account and those connected to it."""
        return [self, *(self.within(account) for account in self.meta.get("accounts", ()))]

    def disconnect(self, account: str) -> None:
        """Forget a connected account and all that is due there; its objects stay on disk, out of reach."""
        self.meta["accounts"].remove(account)
        due = self._due(None)
        due[:] = [each for each in due if each[4] != account]
        heapq.heapify(due)

    def opened(self) -> list[World]:
        """Those of them in which anything can have happened since the last start."""
        return [self, *self._accounts.values()]

    # ---- time ----------------------------------------------------------------------------------------------
    @property
    def now(self) -> int:
        return int(self.meta["clocks"][self.clock]["now"]) if self.clock else self.store.now

    @contextlib.contextmanager
    def on(self, clock: str | None) -> Iterator[None]:
        """Inside, time is that of a test clock; None is the account's own."""
        before, self.clock = self.clock, clock
        try:
            yield
        finally:
            self.clock = before

    @contextlib.contextmanager
    def asked_by(self, request: str | None, idempotency_key: str | None = None) -> Iterator[None]:
        """Events that happen inside name this request as their cause; None: they happen by themselves."""
        before = self.platform.request
        self.platform.request = {"id": request, "idempotency_key": idempotency_key}
        try:
            yield
        finally:
            self.platform.request = before

    def clock_of(self, obj: Object | None) -> str | None:
        """The test clock on which an object lives: its own, or that of its customer."""
        if obj is None:
            return None
        clock = obj.get("test_clock") or obj.get("clock")
        if clock is None and isinstance(customer := obj.get("customer"), str):
            clock = (self.store.get(customer, "customer") or {}).get("test_clock")
        return clock if clock in self.meta.get("clocks", ()) else None

    def later(self, at: int, what: Callable[..., None], *arguments: Any) -> None:
        """Let an action become due, on the clock that rules now."""
        heap = self._due(self.clock)
        account = "" if self is self.platform else self.id_of_account
        heapq.heappush(heap, [int(at), self.platform.number("due"), what.__name__, list(arguments), account])

    def due(self) -> list[list[Any]]:
        """The heap of [at, number, action, arguments, account] of the clock that rules now."""
        return self._due(self.clock)

    def _due(self, clock: str | None) -> list[list[Any]]:
        """What is due when: on the account's clock of the whole platform, on a test clock of itself."""
        due: list[list[Any]] = self.meta["clocks"][clock]["due"] if clock else self.platform.meta.setdefault("due", [])
        return due

    def advance(self, to: int) -> None:
        """Move the clock to `to` (Unix seconds); everything that falls due happens at its own time, in order.

        It moves in steps that are durable one by one, and a step happens whole or not at all. Raises ValueError when
        `to` lies before the clock, and what an action raises; then the clock stands where the step before left it.
        """
        if to < self.store.now:
            raise ValueError("the clock only moves forward")
        while True:
            step, announced = min(to, self.store.now + STEP), self.announced()
            try:
                with self.store.atomic():
                    self._live_until(step)
            except BaseException:
                self.unannounce(announced)
                raise
            self.store.flush()
            if step == to:
                return

    def _live_until(self, to: int) -> None:
        # Asked for anew each time: an action that is taken back in part leaves another list behind.
        while (due := self._due(None)) and due[0][0] <= to:
            at, _, name, arguments, account = heapq.heappop(due)
            self.store.now = max(self.store.now, at)
            ACTIONS[name](self.within(account) if account else self, *arguments)
        self.store.now = to
        if self.events_from == 0 or to - business.EVENT_RETENTION > self.events_from:
            self.events_from = to - business.EVENT_RETENTION
            for world in self.accounts():
                world.store.prune("event", self.events_from)
            webhooks.prune(self)

    def advance_clock(self, clock: str, to: int) -> None:
        """Move one test clock, and with it the customers on it. Raises ValueError when `to` lies before it."""
        moved = self.meta["clocks"][clock]
        if to < moved["now"]:
            raise ValueError("the clock only moves forward")
        with self.on(clock), self.asked_by(None):
            while moved["due"] and moved["due"][0][0] <= to:
                at, _, name, arguments, _ = heapq.heappop(moved["due"])
                moved["now"] = max(moved["now"], at)
                ACTIONS[name](self, *arguments)
            moved["now"] = to

    def forget(self, named: Collection[str]) -> None:
        """Drop what is due for objects that are no more."""
        for heap in (self._due(None), *(clock["due"] for clock in self.meta.get("clocks", {}).values())):
            heap[:] = [due for due in heap if not any(str(argument) in named for argument in due[3])]
            heapq.heapify(heap)

    # ---- objects -------------------------------------------------------------------------------------------
    def number(self, name: str) -> int:
        numbers = self.meta.setdefault("numbers", {})
        numbers[name] = number = numbers.get(name, 0) + 1
        return int(number)

    def id(self, prefix: str) -> str:
        return ids.make(self.seed, prefix, self.platform.number(prefix))

    def chance(self, *key: object) -> random.Random:
        return ids.chance(self.seed, *key)

    def add(self, kind: str, prefix: str, *, within: str | None = None, **fields: Any) -> Object:
        """A new object of `kind`, with `created` now unless given."""
        obj = shapes.new(kind, fields.pop("id", None) or self.id(prefix), **fields)
        if "created" in obj and not obj["created"]:
            obj["created"] = self.now
        if self.clock and "test_clock" in obj:
            obj["test_clock"] = self.clock
        return self.store.insert(obj, parent=within)

    def the(self, id: str, kind: str | None = None) -> Object:
        obj = self.store.get(id, kind)
        if obj is None:
            raise KeyError(id)
        return obj

    def change(self, obj: Object, event: str | None, **changes: Any) -> Object:
        """Set fields and announce exactly the previous values; what changes nothing is silent.

        An optional field that is ABSENT is taken away.
        """
        if all(obj.get(name, ABSENT) == value for name, value in changes.items()):
            return obj
        taken = [name for name, value in changes.items() if value is ABSENT]
        previous = shapes.frozen(previous_attributes(obj, changes)) if event and self.announces else {}
        obj.update(changes)
        for name in taken:
            del obj[name]
            if name in previous and previous[name] is None:
                del previous[name]  # it was not there before either
        self.store.save(obj)
        if event:
            self.emit(event, obj, previous)
        return obj

    @contextlib.contextmanager
    def tentatively(self) -> Iterator[None]:
        """What happens inside is seen inside only: the way to preview exactly what would happen."""
        announced = self.platform.announced()
        try:
            with self.store.atomic(keep=False):
                yield
        finally:
            self.platform.unannounce(announced)

    # ---- events --------------------------------------------------------------------------------------------
    @property
    def events_from(self) -> int:
        return int(self.platform.meta.get("events_from", 0))

    @events_from.setter
    def events_from(self, moment: int) -> None:
        self.platform.meta["events_from"] = moment

    @property
    def api_version(self) -> str:
        """The version that the account has, in which its events are rendered."""
        return str(self.meta.get("api_version") or self.platform.meta.get("api_version", PINNED))

    @property
    def announces(self) -> bool:
        """While history is seeded, events older than the retention are not made at all."""
        return self.store.now >= self.events_from

    def emit(self, event: str, obj: Object, previous: Object | None = None) -> None:
        """Announce a change. An event's `created` is the account's time, also when the object lives on a test clock.

        Raises ValueError for a type of event that Stripe has not, or that tells of other kinds of objects.
        """
        if obj["object"] not in webhooks.EVENT_TYPES.get(event, ()):
            raise ValueError(f"{event} does not tell of a {obj['object']}")
        if not self.announces:
            return
        version = self.api_version
        data = self._data(obj, previous, version)
        listening = webhooks.listening(self, event)
        made = self.add(
            "event", "evt", type=event, api_version=version, data=data, pending_webhooks=len(listening),
            created=self.store.now, request=dict(self.platform.request),
        )  # fmt: skip
        if self is not self.platform:
            made["account"] = self.id_of_account
        for owner, endpoint in listening:
            pinned = endpoint["api_version"] or version
            shown = data if pinned == version else self._data(obj, previous, pinned)
            webhooks.deliver(owner, endpoint, made | {"api_version": pinned, "data": shown})
        self.new_events.append(made["id"])

    def _data(self, obj: Object, previous: Object | None, version: str) -> Object:
        """What an event carries, as it is now: later changes do not reach it."""
        if version != PINNED:
            return Renderer(self, version).data(obj, previous)
        data: Object = {"object": msgspec.Raw(_encode(obj))}
        if previous is not None:
            data["previous_attributes"] = previous
        return data

    def announced(self) -> dict[str, int]:
        """How many events each account has announced: where `unannounce` goes back to."""
        return {world.id_of_account: len(world.new_events) for world in self.opened()}

    def unannounce(self, announced: dict[str, int]) -> None:
        for world in self.opened():
            del world.new_events[announced.get(world.id_of_account, 0) :]
