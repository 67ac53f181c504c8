"""The pace of requests, against the simulator's own limiter in a time that passes as fast as it can be computed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dagster_project.settings import Account, Settings
from dagster_project.simulator.http import limits
from dagster_project.simulator.http.api_errors import ApiError
from dagster_project.simulator.http.faults import Faults
from dagster_project.stripe_api import governor as module
from dagster_project.stripe_api.governor import Governor, endpoint_of


class FastLoop(asyncio.SelectorEventLoop):
    """Time passes only when nobody has anything to do."""

    now = 1_000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        waiting: list[Any] = self._scheduled  # type: ignore[attr-defined]
        if not self._ready and waiting:  # type: ignore[attr-defined]
            self.now = max(self.now, waiting[0].when())
        super()._run_once()  # type: ignore[misc]


class Stripe:
    """Answers after 120 ± 25 ms, or refuses at once as the simulator does."""

    def __init__(self, governor: Governor, **faults: Any) -> None:
        self.governor, self.faults, self.limiter = governor, Faults(**faults), limits.Limiter()
        self.answered: Counter[str] = Counter()  # in time
        self.until = float("inf")
        self.started: list[tuple[float, str]] = []
        self._random = random.Random(7)

    async def request(self, endpoint: str) -> bool:
        """True when it was answered."""
        async with self.governor.turn(endpoint) as turn:
            self.started.append((turn.started, endpoint))
            try:
                self.limiter.check(self.faults, endpoint)
                with self.limiter.working(self.faults, endpoint):
                    await asyncio.sleep(0.12 + self._random.uniform(-0.025, 0.025))
            except ApiError as error:
                self.governor.refused(turn, error.headers.get("Stripe-Rate-Limited-Reason", ""))
                return False
        self.answered[endpoint] += module.time.monotonic() <= self.until
        return True

    async def work_on(self, *endpoints: str, seconds: float, workers: int = 8) -> None:
        """As many requests as `workers` for each endpoint can make; a refused one waits a moment before the next."""
        self.until = module.time.monotonic() + seconds

        async def worker(endpoint: str) -> None:
            while module.time.monotonic() < self.until:
                if not await self.request(endpoint):
                    await asyncio.sleep(self._random.uniform(0.25, 0.5))

        await asyncio.gather(*(worker(endpoint) for endpoint in endpoints for _ in range(workers)))


Run = Callable[[Callable[[], Awaitable[None]]], None]
MANY = [f"/object_{number}" for number in range(7)]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a coroutine in fast time, with Stripe's real limits."""
    loop = FastLoop()
    clock = SimpleNamespace(monotonic=loop.time)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(limits, "time", clock)
    for name, value in (("LIVE", 100.0), ("SANDBOX", 25.0), ("ENDPOINT", 25.0)):
        monkeypatch.setattr(module, name, value)

    def run(what: Callable[[], Awaitable[None]]) -> None:
        try:
            loop.run_until_complete(what())
        finally:
            loop.close()

    return run


@pytest.mark.parametrize(("endpoints", "per_second"), [(1, 25), (3, 75), (7, 100)])
def test_with_enough_work_the_limit_is_reached_and_hardly_ever_refused(
    run: Run, endpoints: int, per_second: int
) -> None:
    governor = Governor(leave=0)
    stripe = Stripe(governor, rate_limit=100, endpoint_rate_limit=25)
    run(lambda: stripe.work_on(*MANY[:endpoints], seconds=60))
    assert stripe.answered.total() >= 0.98 * 60 * per_second
    assert governor.refusals.total() <= 0.005 * stripe.answered.total()


def test_a_share_is_left_for_the_keys_other_users(run: Run) -> None:
    governor = Governor()
    stripe = Stripe(governor)

    async def shown() -> None:
        work = asyncio.create_task(stripe.work_on(*MANY, seconds=60))
        await asyncio.sleep(30)
        assert governor.share().in_all == pytest.approx(0.95, abs=0.01)
        assert sum(governor.share().by_endpoint.values()) == pytest.approx(4 * 0.95, abs=0.04)
        await work

    run(shown)
    assert 0.98 * 95 * 60 <= stripe.answered.total() <= 1.01 * 95 * 60


def test_in_a_sandbox_all_endpoints_share_25(run: Run) -> None:
    stripe = Stripe(Governor(livemode=False, leave=0), rate_limit=25)
    run(lambda: stripe.work_on(*MANY, seconds=30))
    assert 0.98 * 25 * 30 <= stripe.answered.total() <= 1.05 * 25 * 30
    assert min(stripe.answered.values()) >= 0.9 * max(stripe.answered.values())


def test_a_mode_that_is_known_later_holds_from_then_on(run: Run) -> None:
    governor = Governor(leave=0)
    stripe = Stripe(governor, rate_limit=25)

    async def identified() -> None:
        await stripe.request("/balance")
        governor.in_mode(livemode=False)
        await stripe.work_on(*MANY, seconds=30)

    run(identified)
    assert 0.98 * 25 * 30 <= stripe.answered.total() <= 1.05 * 25 * 30
    assert not governor.refusals


def test_no_second_sees_many_more_requests_than_the_limit(run: Run) -> None:
    stripe = Stripe(Governor(leave=0))
    run(lambda: stripe.work_on(MANY[0], seconds=20, workers=200))
    times = [at for at, _ in stripe.started]
    assert max(sum(at <= other < at + 1 for other in times) for at in times) <= 25 * 1.25 + 2


def test_a_refusal_for_an_endpoint_slows_that_endpoint_alone(run: Run) -> None:
    governor = Governor(leave=0)
    stripe = Stripe(governor, endpoint_rate_limits={MANY[0]: 10})
    run(lambda: stripe.work_on(*MANY[:3], seconds=60))
    assert stripe.answered[MANY[0]] >= 0.85 * 10 * 60
    assert min(stripe.answered[MANY[1]], stripe.answered[MANY[2]]) >= 0.98 * 25 * 60
    assert set(governor.refusals) == {(MANY[0], "endpoint-rate")}
    assert governor.refusals.total() <= 0.08 * stripe.answered[MANY[0]]


def test_when_others_use_the_account_the_pace_follows_down_and_comes_back(run: Run) -> None:
    governor = Governor(leave=0)
    stripe = Stripe(governor, rate_limit=100)
    seen: list[int] = []

    async def day() -> None:
        for limit in (100, 40, 100):
            stripe.faults.rate_limit = limit
            before = stripe.answered.total()
            await stripe.work_on(*MANY, seconds=60)
            seen.append(stripe.answered.total() - before)
            assert {reason for _, reason in governor.refusals} <= {"global-rate"}

    run(day)
    assert seen[0] >= 0.98 * 6000
    assert 0.85 * 2400 <= seen[1] <= 1.05 * 2400
    assert seen[2] >= 0.75 * 6000, "two per cent of the limit come back each second"
    assert governor.refusals.total() <= 0.06 * stripe.answered.total()


def test_requests_that_were_under_way_together_are_one_signal(run: Run) -> None:
    governor = Governor(leave=0)

    async def burst() -> None:
        turns = [governor.turn("/charges") for _ in range(6)]
        for turn in turns:
            await turn.__aenter__()
        for turn in turns:
            governor.refused(turn, "endpoint-rate")
            await turn.__aexit__(None, None, None)
            await asyncio.sleep(0.01)

    run(burst)
    slowed = governor.lane("/charges").rate.at(module.time.monotonic())
    assert 0.8 * 25 < slowed < 25
    assert governor.refusals == {("/charges", "endpoint-rate"): 6}


@pytest.mark.parametrize("reason", ["", "resource-specific"])
def test_contention_on_one_object_changes_no_pace(run: Run, reason: str) -> None:
    governor = Governor(leave=0)

    async def refused() -> None:
        async with governor.turn("/charges") as turn:
            governor.refused(turn, reason)
        await Stripe(governor).work_on("/charges", *MANY, seconds=10)

    run(refused)
    assert governor.requests.total() >= 0.97 * 1000
    assert governor.refusals == {("/charges", reason or "lock"): 1}


def test_too_many_at_once_on_an_endpoint_narrows_that_and_not_its_rate(run: Run) -> None:
    governor = Governor(leave=0)
    stripe = Stripe(governor, endpoint_concurrency_limits={MANY[0]: 2})
    run(lambda: stripe.work_on(*MANY[:2], seconds=60))
    assert stripe.answered[MANY[0]] >= 0.75 * 2 / 0.12 * 60
    assert stripe.answered[MANY[1]] >= 0.98 * 25 * 60
    assert set(governor.refusals) == {(MANY[0], "endpoint-concurrency")}
    assert governor.refusals.total() <= 0.06 * stripe.answered[MANY[0]]
    assert governor.lane(MANY[0]).rate.at(module.time.monotonic()) == 25


def test_too_many_at_once_in_all_narrows_all(run: Run) -> None:
    governor = Governor(leave=0)
    stripe = Stripe(governor, concurrency_limit=6)
    run(lambda: stripe.work_on(*MANY, seconds=60))
    assert stripe.answered.total() >= 0.75 * 6 / 0.12 * 60
    assert {reason for _, reason in governor.refusals} == {"global-concurrency"}
    assert governor.refusals.total() <= 0.06 * stripe.answered.total()


def test_a_thousand_that_wait_for_one_endpoint_do_not_hold_up_another(run: Run) -> None:
    governor = Governor(leave=0)
    stripe = Stripe(governor)

    async def crowded() -> None:
        crowd = [asyncio.create_task(stripe.request("/charges")) for _ in range(1_000)]
        await asyncio.sleep(0.5)
        began = module.time.monotonic()
        for _ in range(20):
            await stripe.request("/refunds")
        assert module.time.monotonic() - began < 20 * 0.16
        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
        began = module.time.monotonic()
        await stripe.request("/charges")
        assert module.time.monotonic() - began < 0.5, "who gave up has no turn"

    run(crowded)
    assert governor.requests["/charges"] < 150


def test_endpoints_named_first_come_first_and_the_others_go_on(run: Run) -> None:
    governor = Governor(livemode=False, leave=0)
    governor.first.add("/charges")
    stripe = Stripe(governor)
    run(lambda: stripe.work_on("/charges", *MANY[:5], seconds=40))
    assert stripe.answered["/charges"] >= 0.7 * 1000
    assert min(stripe.answered[name] for name in MANY[:5]) >= 40


def test_nobody_waits_for_the_local_simulator_until_it_refuses(run: Run) -> None:
    governor = Governor(paced=False, leave=0)
    stripe = Stripe(governor)

    async def twice() -> None:
        await stripe.work_on("/charges", seconds=10)
        assert stripe.answered.total() > 500
        stripe.faults.rate_limit = 30
        before = stripe.answered.total()
        await stripe.work_on(*MANY, seconds=60)
        assert 0.85 * 1800 <= stripe.answered.total() - before <= 1.05 * 1800

    run(twice)
    assert governor.refusals.total() <= 0.1 * 1800


def test_the_settings_say_what_is_left_and_an_account_may_say_otherwise() -> None:
    settings = Settings.load({"STRIPE_API_KEY": "sk_test_unit", "LEDGERLINE_LEAVE_FOR_OTHERS": "20"})
    assert Governor.of(settings, Account("one", "sk_test_unit")).leave == 0.20
    assert Governor.of(settings, Account("two", "sk_test_unit", leave_for_others=0)).leave == 0
    assert Governor.of(settings, Account("one", "sk_test_unit")).paced


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v1/charges", "/charges"),
        ("/v1/charges/ch_1", "/charges/{id}"),
        ("/v1/coupons/SUMMER", "/coupons/{id}"),
        ("/v1/checkout/sessions", "/checkout/sessions"),
        ("/v1/checkout/sessions/cs_1/line_items", "/checkout/sessions/{id}/line_items"),
        ("/v1/customers/cus_1/balance_transactions/cbtxn_1", "/customers/{id}/balance_transactions/{id}"),
        ("/v1/account", "/account"),
        ("/v1/accounts/acct_1", "/accounts/{id}"),
    ],
)
def test_all_ids_of_an_object_share_a_bucket_that_is_not_the_lists(path: str, endpoint: str) -> None:
    assert endpoint_of(path) == endpoint
