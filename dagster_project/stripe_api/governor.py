"""The pace of requests: Stripe's documented limits, adapted by what 429 answers say.

Limits, in all and per endpoint, and the reasons of a 429: https://docs.stripe.com/rate-limits. A share is left for the
other users of the key. A 429 is normal: it slows (or narrows) what it names, and the pace recovers by itself, up to the
documented limit and never above: looking for more would refuse requests of the key's other users, its payments among
them.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import NamedTuple

from dagster_project.settings import Account, Settings
from dagster_project.stripe_api.catalog import CATALOGUE

LIVE, SANDBOX, ENDPOINT = 100.0, 25.0, 25.0  # requests per second
_SLOWER_ENDPOINTS = {"/files": 20.0, "/files/{id}": 20.0}
LEFT_FOR_OTHERS = 0.05
# Stripe does not publish how many requests it answers at once; these suffice for its limits at 0.8 s per answer.
IN_FLIGHT, IN_FLIGHT_ENDPOINT = 80, 24

_CATCH_UP = 0.25  # seconds of unused turns that may be made up for
_SLOWER, _FASTER = 0.85, 0.02  # factor at a refusal; part of the limit that comes back each second
_NARROWER, _WIDER = 0.8, 0.2  # factor at a refusal; requests at once that come back each second
_LOWEST = 0.02  # part of the limit below which no refusal slows
_FAIR = 4  # every so many turns go to who waited longest, whatever is left to do
_RECENT = 5.0  # seconds that `share` looks back


class _Rate:
    """Requests per second: a token bucket that saves up little, so that no burst exceeds the limit by much."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._slowed_to, self._slowed_at = limit, float("-inf")
        self._next = 0.0

    def at(self, now: float) -> float:
        return min(self.limit, self._slowed_to + _FASTER * self.limit * (now - self._slowed_at))

    @property
    def ready(self) -> float:
        """When the next request may start."""
        return self._next - _CATCH_UP

    def take(self, now: float) -> None:
        self._next = max(self._next, now) + 1 / self.at(now)

    def slow(self, started: float, now: float) -> None:
        """After the refusal of a request that started at `started`.

        What started before the last slowing was refused for the same cause: it says nothing about the new pace.
        """
        if started <= self._slowed_at:
            return
        self._slowed_to, self._slowed_at = max(self.limit * _LOWEST, self.at(now) * _SLOWER), now
        self._next = now + _CATCH_UP + 1 / self._slowed_to


class _Room:
    """Requests at once."""

    def __init__(self, most: int) -> None:
        self.most, self.busy = most, 0
        self._narrowed_to, self._narrowed_at = float(most), float("-inf")

    def at(self, now: float) -> int:
        return int(min(self.most, self._narrowed_to + _WIDER * (now - self._narrowed_at)))

    def free(self, now: float) -> bool:
        return self.busy < self.at(now)

    def narrow(self, started: float, now: float) -> None:
        if started <= self._narrowed_at:
            return
        # What counts is how many were under way, which may be far fewer than were allowed.
        self._narrowed_to, self._narrowed_at = max(1.0, min(self.busy, self.at(now)) * _NARROWER), now


class _Lane:
    """One endpoint: its pace, its room, and who waits for a turn, first come first."""

    def __init__(self, name: str, limit: float) -> None:
        self.name, self.rate, self.room = name, _Rate(limit), _Room(IN_FLIGHT_ENDPOINT)
        self.waiting: deque[asyncio.Future[None]] = deque()


class Share(NamedTuple):
    """Requests per second as a share of Stripe's limit (1.0 is all of it), over the last few seconds."""

    in_all: float
    by_endpoint: dict[str, float]


@dataclass
class Governor:
    """One per account. `paced` False is for the local simulator, which nobody else shares, until it refuses something.

    `leave` is the share of the limits that is left for others. `requests` counts per endpoint, `refusals` 429s per
    (endpoint, reason) with `lock` for contention on an object. Endpoints
    in `first` come before others, because they need the most requests. Not for several threads.
    """

    livemode: bool = True
    paced: bool = True
    leave: float = LEFT_FOR_OTHERS
    requests: Counter[str] = field(default_factory=Counter)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: set[str] = field(default_factory=set)
    recorded: Counter[tuple[str, str]] = field(default_factory=Counter)  # what the warehouse knows of the counts

    @classmethod
    def of(cls, settings: Settings, account: Account) -> Governor:
        """The pace that the settings want for an account, whose mode is still unknown."""
        percent = settings.leave_for_others if account.leave_for_others is None else account.leave_for_others
        return cls(paced=not settings.uses_simulator, leave=percent / 100)

    def __post_init__(self) -> None:
        self._rate, self._room = _Rate(self.limit * (1 - self.leave)), _Room(IN_FLIGHT)
        self._lanes: dict[str, _Lane] = {}
        self._queue: dict[str, _Lane] = {}  # lanes where someone waits, the longest unserved first
        self._turns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._recent: deque[tuple[float, str]] = deque()

    def in_mode(self, livemode: bool) -> None:
        """From now on the limits of this mode, once it is known."""
        self.livemode = livemode
        self._rate.limit = self.limit * (1 - self.leave)

    @property
    def limit(self) -> float:
        """Stripe's, in requests per second."""
        return LIVE if self.livemode else SANDBOX

    def turn(self, endpoint: str) -> Turn:
        """`async with governor.turn(endpoint):` waits until a request may start; inside, it is under way."""
        return Turn(self, self.lane(endpoint))

    def refused(self, turn: Turn, reason: str) -> None:
        """A 429 with its `Stripe-Rate-Limited-Reason`; '' is a lock timeout. That and `resource-specific` concern one
        object, so they change no pace."""
        lane = turn.lane
        self.refusals[lane.name, reason or "lock"] += 1
        now = time.monotonic()
        if reason == "global-rate":
            self._rate.slow(turn.started, now)
        elif reason == "endpoint-rate":
            lane.rate.slow(turn.started, now)
        elif reason == "global-concurrency":
            self._room.narrow(turn.started, now)
        elif reason == "endpoint-concurrency":
            lane.room.narrow(turn.started, now)
        if reason.endswith("-rate"):
            self.paced = True

    def share(self) -> Share:
        """How much of the limits was used over the last seconds."""
        now = time.monotonic()
        recent = [(at, name) for at, name in tuple(self._recent) if at > now - _RECENT]
        if not recent:
            return Share(0.0, {})
        seconds = max(1.0, min(_RECENT, now - recent[0][0]))
        each = Counter(name for _, name in recent)
        return Share(
            len(recent) / seconds / self.limit,
            {name: number / seconds / self._limit_of(name) for name, number in each.items()},
        )

    def lane(self, endpoint: str) -> _Lane:
        if endpoint not in self._lanes:
            self._lanes[endpoint] = _Lane(endpoint, self._limit_of(endpoint) * (1 - self.leave))
        return self._lanes[endpoint]

    def _limit_of(self, endpoint: str) -> float:
        return min(_SLOWER_ENDPOINTS.get(endpoint, ENDPOINT), ENDPOINT, self.limit)

    # ---- whose turn it is ------------------------------------------------------------------------------------
    def _enqueue(self, lane: _Lane) -> asyncio.Future[None]:
        waiter = asyncio.get_running_loop().create_future()
        lane.waiting.append(waiter)
        self._queue.setdefault(lane.name, lane)
        self._go_on()
        return waiter

    def _finished(self, lane: _Lane) -> None:
        self._room.busy -= 1
        lane.room.busy -= 1
        self._go_on()

    def _go_on(self) -> None:
        """Start whom the limits allow, and come back when they allow the next."""
        now = time.monotonic()
        while (lane := self._next(now)) is not None:
            del self._queue[lane.name]
            waiter = lane.waiting.popleft()
            if lane.waiting:
                self._queue[lane.name] = lane
            self._start(lane, now)
            waiter.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ready = [lane.rate.ready for lane in self._queue.values() if lane.room.free(now)]
        if ready and self._room.free(now):
            at = max(self._rate.ready, min(ready))
            self._timer = asyncio.get_running_loop().call_at(at, self._go_on)

    def _next(self, now: float) -> _Lane | None:
        for name, lane in list(self._queue.items()):
            while lane.waiting and lane.waiting[0].done():  # given up meanwhile
                lane.waiting.popleft()
            if not lane.waiting:
                del self._queue[name]
        if not self._queue or not self._room.free(now) or (self.paced and self._rate.ready > now):
            return None
        able = [
            lane for lane in self._queue.values() if lane.room.free(now) and (not self.paced or lane.rate.ready <= now)
        ]
        if not able:
            return None
        if self._turns % _FAIR == 0:
            return able[0]
        return next((lane for lane in able if lane.name in self.first), able[0])

    def _start(self, lane: _Lane, now: float) -> None:
        self._turns += 1
        self._room.busy += 1
        lane.room.busy += 1
        if self.paced:
            self._rate.take(now)
            lane.rate.take(now)
        self.requests[lane.name] += 1
        self._recent.append((now, lane.name))
        while self._recent[0][0] < now - _RECENT:
            self._recent.popleft()


class SharedPace(Governor):
    """One of several accounts that share the limits of a key: the same pace, with counts of its own."""

    def __init__(self, whole: Governor) -> None:
        super().__init__(whole.livemode, whole.paced, whole.leave, first=whole.first)
        self.whole = whole

    def in_mode(self, livemode: bool) -> None:
        self.livemode = livemode
        self.whole.in_mode(livemode)

    def turn(self, endpoint: str) -> Turn:
        self.requests[endpoint] += 1
        return self.whole.turn(endpoint)

    def refused(self, turn: Turn, reason: str) -> None:
        self.refusals[turn.lane.name, reason or "lock"] += 1
        self.whole.refused(turn, reason)

    def share(self) -> Share:
        return self.whole.share()


class Turn:
    """The right to one request, from the moment that the limits allow it until it is answered."""

    __slots__ = ("_governor", "lane", "started")

    def __init__(self, governor: Governor, lane: _Lane) -> None:
        self._governor, self.lane, self.started = governor, lane, 0.0

    async def __aenter__(self) -> Turn:
        waiter = self._governor._enqueue(self.lane)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._governor._finished(self.lane)
            raise
        self.started = time.monotonic()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._governor._finished(self.lane)


@cache
def _collections() -> tuple[str, ...]:
    paths = {row.path.partition("/{parent}")[0] for row in CATALOGUE.values() if row.path}
    return tuple(sorted(paths, key=len, reverse=True))


def endpoint_of(path: str) -> str:
    """The bucket that a request counts in: `/v1/charges` is `/charges`, and every `/v1/charges/ch_…` is
    `/charges/{id}`, another one."""
    for collection in _collections():
        if path.startswith(f"{collection}/"):
            parts = path.removeprefix(f"{collection}/").split("/")
            parts[::2] = ["{id}"] * len(parts[::2])
            return "/".join([collection, *parts]).removeprefix("/v1")
    return path.removeprefix("/v1")
