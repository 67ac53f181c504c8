"""How far long work is: counted here, shown by `bars.Bars` on a terminal and by `Lines` in logs and pipes.

Rates look back a few seconds; what is left is an estimate, and is rounded so that it does not pretend more.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.stripe_api.governor import Governor
from dagster_project.stripe_api.report import object_of, refusals

_RECENT = 10.0  # seconds that rates look back
_SAMPLES = 0.5  # seconds between what they are computed from
_WORTH_A_RATE = 1_000  # rows; fewer are over before a rate means anything
_NAMED = 3  # objects that a line of a log names


class _Speed:
    """Rows (or requests) per second over the last seconds."""

    def __init__(self, now: float) -> None:
        self._samples: deque[tuple[float, int]] = deque([(now, 0)])

    def at(self, now: float, count: int) -> float:
        if now - self._samples[-1][0] >= _SAMPLES:
            self._samples.append((now, count))
        while len(self._samples) > 2 and self._samples[1][0] <= now - _RECENT:
            self._samples.popleft()
        then, before = self._samples[0]
        return (count - before) / max(1.0, now - then)


@dataclass
class Work:
    """One name. `total` and `left` are rows; `estimated` says that the total is a guess. `spent` are the seconds of
    what was done before `since`: a name may begin again, e.g. to look for rows that a list lacked."""

    name: str
    began: float
    speed: _Speed
    rows: int = 0
    total: int | None = None
    left: int | None = None
    running: int = 0
    ended: float | None = None
    since: float = 0.0
    spent: float = 0.0
    rate: float = 0.0
    share: float | None = None

    @property
    def is_object(self) -> bool:
        return self.name in CATALOGUE

    @property
    def estimated(self) -> bool:
        return self.left is not None

    @property
    def of(self) -> int | None:
        """How many rows there are in all, as far as that is known."""
        if self.left is not None:
            return self.rows + self.left
        return None if self.total is None else max(self.total, self.rows)

    @property
    def seconds_left(self) -> float | None:
        return None if self.of is None or self.rate <= 0 else (self.of - self.rows) / self.rate

    def how_many(self) -> str:
        """`of`, rounded where it is an estimate; empty where it is not known."""
        if self.of is None:
            return ""
        return f"{rounded(self.of) if self.estimated else self.of:,}"


@dataclass(frozen=True)
class Overall:
    """All objects together. `share` is the part of Stripe's limit that was used lately, None where nothing limits."""

    objects: int
    finished: int
    rows: int
    rate: float
    requests: int
    requests_rate: float
    share: float | None
    refused: Counter[str]
    seconds: float
    seconds_left: float | None

    def rows_text(self) -> str:
        rate = f", {self.rate:,.0f}/s" if self.rows >= _WORTH_A_RATE else ""
        left = "" if self.seconds_left is None else f", about {duration(self.seconds_left)} left"
        return f"{self.finished} of {self.objects} objects, {self.rows:,} rows{rate}{left}"

    def requests_text(self) -> str:
        share = "" if self.share is None else f", {self.share:.0%} of Stripe's limit".replace("%", " %")
        refused = refusals(self.refused)
        return f"{self.requests:,} requests, {self.requests_rate:,.0f}/s{share}" + (f"; {refused}" if refused else "")


@dataclass
class Tally:
    """Counts what `Progress` is told. Rows may be reported by one thread while another looks."""

    clock: Callable[[], float] = time.monotonic
    works: dict[str, Work] = field(default_factory=dict)
    governors: list[Governor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = self.clock()
        self._rows, self._requests = _Speed(self.began), _Speed(self.began)

    def start(self, name: str, total: int | None) -> Work:
        work = self._work(name)
        if work.ended is not None:
            work.since = self.clock()
        work.running, work.ended = work.running + 1, None
        if total is not None:
            work.total = (work.total or 0) + total
        return work

    def advance(self, name: str, n: int, left: int | None = None) -> None:
        work = self._work(name)
        work.rows += n
        if left is not None:
            work.left = left

    def watch(self, governor: Governor) -> None:
        if not self.governors:
            self._requests = _Speed(self.clock())
        if not any(governor is one for one in self.governors):
            self.governors.append(governor)

    def done(self, name: str) -> Work:
        work = self._work(name)
        work.running = max(0, work.running - 1)
        if not work.running and work.ended is None:
            work.ended, work.left, work.total = self.clock(), None, None
            work.spent += work.ended - work.since
        return work

    def _work(self, name: str) -> Work:
        if name not in self.works:
            now = self.clock()
            if name in CATALOGUE and not any(work.is_object for work in list(self.works.values())):
                self._rows = _Speed(now)  # what came before was no reading
            self.works[name] = Work(name, now, _Speed(now), since=now)
        return self.works[name]

    def active(self) -> list[Work]:
        """What runs and has something to show, in the order in which it began; rates and shares as of now."""
        now, shares = self.clock(), self._shares()
        found = [work for work in list(self.works.values()) if work.ended is None]
        for work in found:
            work.rate, work.share = work.speed.at(now, work.rows), shares.get(work.name)
        return [work for work in found if work.rows or not work.is_object]

    def overall(self, *, over: bool = False) -> Overall:
        """As of now, or, when all is `over`, how it went from first to last."""
        now = self.clock()
        objects = [work for work in list(self.works.values()) if work.is_object]
        rows = sum(work.rows for work in objects)
        asked = sum(governor.requests.total() for governor in self.governors)
        refused: Counter[str] = Counter()
        for governor in self.governors:
            for (_, reason), number in list(governor.refusals.items()):
                refused[reason] += number
        paced = [governor for governor in self.governors if governor.paced]
        running = [work for work in objects if work.ended is None]
        began = min((work.began for work in objects), default=now)
        rate, asking = self._rows.at(now, rows), self._requests.at(now, asked)
        if not over and (running or not objects):
            seconds = now - began
            shares = [governor.share().in_all for governor in paced]
        else:
            seconds = max([work.ended or now for work in objects], default=now) - began
            rate, asking = rows / max(seconds, 0.001), asked / max(seconds, 0.001)
            shares = [governor.requests.total() / max(seconds, 0.001) / governor.limit for governor in paced]
        return Overall(
            objects=len(objects),
            finished=len(objects) - len(running),
            rows=rows,
            rate=rate,
            requests=asked,
            requests_rate=asking,
            share=max(shares, default=None),
            refused=refused,
            seconds=seconds,
            seconds_left=None if over else _time_left(running, rate),
        )

    def _shares(self) -> dict[str, float]:
        """By object, the part of Stripe's limit per endpoint that its busiest endpoint used lately."""
        found: dict[str, float] = {}
        for governor in self.governors:
            if governor.paced:
                for endpoint, share in governor.share().by_endpoint.items():
                    if name := object_of(endpoint):
                        found[name] = max(share, found.get(name, 0.0))
        return found

    def requests_of(self, name: str) -> tuple[int, Counter[str]]:
        """Requests for an object, and its 429s by reason."""
        asked, refused = 0, Counter[str]()
        for governor in self.governors:
            asked += sum(number for endpoint, number in list(governor.requests.items()) if object_of(endpoint) == name)
            for (endpoint, reason), number in list(governor.refusals.items()):
                if object_of(endpoint) == name:
                    refused[reason] += number
        return asked, refused

    def seconds(self, work: Work) -> float:
        """How long it has been worked on."""
        return work.spent if work.ended is not None else work.spent + self.clock() - work.since

    def line(self, work: Work) -> str:
        """What a finished object came to."""
        seconds = self.seconds(work)
        asked, refused = self.requests_of(work.name)
        parts = [f"{work.rows:,} rows in {duration(seconds)}"]
        if work.rows >= _WORTH_A_RATE:
            parts.append(f"{work.rows / max(seconds, 0.001):,.0f}/s")
        if asked:
            parts.append(f"{asked:,} request{'' if asked == 1 else 's'}")
        return ", ".join(parts) + (f"; {refusals(refused)}" if refused else "")


def _time_left(objects: list[Work], rate: float) -> float | None:
    """All objects share one limit and each has its own: the longer of both is what remains."""
    known = [work for work in objects if work.of is not None]
    if not known or rate <= 0:
        return None
    together = sum((work.of or 0) - work.rows for work in known) / rate
    return max([together, *(work.seconds_left or 0.0 for work in known)])


class Lines:
    """Progress for a log or a pipe: a line every so many seconds and one for each object that is finished.

    Use as a context manager where a last line about everything is wanted.
    """

    def __init__(
        self, write: Callable[[str], None], *, every: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._every, self.tally = write, every, Tally(clock)
        self._said = self.tally.began

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        if any(work.is_object and work.rows for work in self.tally.works.values()):
            overall = self.tally.overall(over=True)
            self._write(f"{overall.rows_text()} in {duration(overall.seconds)}")
            if overall.requests:
                self._write(overall.requests_text())

    def start(self, name: str, total: int | None) -> None:
        self.tally.start(name, total)

    def advance(self, name: str, n: int, left: int | None = None) -> None:
        self.tally.advance(name, n, left)
        now = self.tally.clock()
        if now - self._said >= self._every:
            self._said = now
            self._write(self._now())

    def done(self, name: str, message: str) -> None:
        work = self.tally.done(name)
        if work.ended is not None and work.rows and work.is_object:
            message = self.tally.line(work) + (f"; {message}" if message else "")
        if message:
            self._write(f"{name:<34} {message}")

    def watch(self, governor: Governor) -> None:
        self.tally.watch(governor)

    def _now(self) -> str:
        active = sorted(self.tally.active(), key=lambda work: (work.of or work.rows) - work.rows, reverse=True)
        named = [
            f"{work.name} {work.rows:,}"
            + (f" of {'about ' if work.estimated else ''}{how_many}" if (how_many := work.how_many()) else "")
            for work in active[:_NAMED]
        ]
        overall = self.tally.overall()
        parts = []
        if overall.objects:
            parts.append(f"{duration(overall.seconds)}  {overall.rows_text()}")
        if overall.requests:
            parts.append(overall.requests_text())
        return "; ".join([*parts, ", ".join(named)] if named else parts)


def duration(seconds: float) -> str:
    """`0:42`, `12:05`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def rounded(number: int) -> int:
    """To two digits that count."""
    digits = len(str(abs(number)))
    return number if digits <= 2 else int(round(number, 2 - digits))
