"""What a person sees while Stripe is read: bars on a terminal, lines now and then elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dagster_project import terminal
from dagster_project.bars import Bars
from dagster_project.progress import Lines, Tally, duration, rounded
from dagster_project.stripe_api.governor import Governor
from dagster_project.stripe_api.report import SyncReport, object_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def read(tally: Tally, clock: Clock, name: str, pages: int, *, left: int | None = None) -> None:
    """A page of 100 rows every 50 ms: 2,000 rows a second."""
    for page in range(pages):
        clock.now += 0.05
        tally.advance(name, 100, None if left is None else left - 100 * (page + 1))
        tally.active()


def test_the_rate_the_total_and_the_time_left_follow_from_rows_and_what_is_left() -> None:
    tally = Tally(clock := Clock())
    tally.start("charges", None)
    read(tally, clock, "charges", 400, left=60_000)
    [work] = tally.active()
    assert (work.rows, work.of, work.estimated) == (40_000, 60_000, True)
    assert work.rate == pytest.approx(2_000, rel=0.05)
    assert work.seconds_left == pytest.approx(10, rel=0.05)


def test_the_rate_is_the_present_one() -> None:
    tally = Tally(clock := Clock())
    tally.start("charges", None)
    read(tally, clock, "charges", 200)
    for _ in range(40):
        clock.now += 0.5
        tally.active()
    assert tally.active()[0].rate == 0


def test_the_longest_object_or_the_sum_of_all_decides_how_long_it_takes() -> None:
    tally = Tally(clock := Clock())
    for name in ("charges", "refunds"):
        tally.start(name, 10_000)
    for _ in range(100):
        clock.now += 0.1
        tally.advance("charges", 90)
        tally.advance("refunds", 10)
        tally.active()
        tally.overall()
    overall = tally.overall()
    assert (overall.objects, overall.finished, overall.rows) == (2, 0, 10_000)
    # 10,000 rows are left at 1,000 a second, but refunds alone need 9,000 at 100 a second
    assert overall.seconds_left == pytest.approx(90, rel=0.1)


def test_a_name_that_two_accounts_read_is_done_when_both_are() -> None:
    tally = Tally(Clock())
    tally.start("charges", None)
    tally.start("charges", None)
    assert tally.done("charges").ended is None
    assert tally.done("charges").ended is not None
    assert tally.overall().finished == 1


def test_an_object_that_begins_again_took_as_long_as_it_was_worked_on() -> None:
    tally = Tally(clock := Clock())
    for seconds in (5, 2):
        tally.start("charges", None)
        clock.now += seconds
        tally.advance("charges", 3_500)
        tally.done("charges")
        clock.now += 30
    assert tally.line(tally.works["charges"]) == "7,000 rows in 0:07, 1,000/s"


def test_what_came_before_the_reading_slows_no_rate() -> None:
    tally = Tally(clock := Clock())
    clock.now += 60
    tally.watch(Governor())
    assert (tally.overall().requests_rate, tally.overall().rate) == (0, 0)
    tally.start("charges", 4_000)
    clock.now += 1
    tally.advance("charges", 2_000)
    overall = tally.overall()
    assert (overall.rate, overall.seconds_left, overall.seconds) == (2_000, 1, 1)


def test_an_object_is_told_apart_by_the_endpoints_of_its_requests() -> None:
    assert object_of("/charges") == object_of("/charges/{id}") == "charges"
    assert object_of("/invoices/{id}/lines") == "invoice_line_items"
    assert object_of("/customers/{id}/balance_transactions") == "customer_balance_transactions"
    assert object_of("/account") == "accounts"
    assert object_of("/something") is None


def busy() -> Governor:
    governor = Governor()
    governor.requests.update({"/charges": 400, "/charges/{id}": 20, "/refunds": 80})
    governor.refusals.update({("/charges", "endpoint-rate"): 3, ("/refunds", "lock"): 1})
    return governor


def test_a_report_has_requests_and_429s_by_reason_per_object_and_in_all() -> None:
    report = SyncReport({})
    report.objects = {}
    report.count_requests(busy(), 10.0)
    charges, refunds = report.objects["charges"], report.objects["refunds"]
    assert (charges.requests, dict(charges.refused)) == (420, {"endpoint-rate": 3})
    assert (refunds.requests, dict(refunds.refused)) == (80, {"lock": 1})
    assert (report.requests, dict(report.refused)) == (500, {"endpoint-rate": 3, "lock": 1})
    assert report.share == pytest.approx(0.5)  # 50 of 100 requests per second


def test_a_log_gets_a_line_every_so_often_and_one_per_object() -> None:
    written: list[str] = []
    clock = Clock()
    with Lines(written.append, every=10, clock=clock) as lines:
        lines.watch(busy())
        lines.start("charges", None)
        for page in range(1, 353):
            clock.now += 1 / 16
            lines.advance("charges", 100, 48_000 - page * 100)
        assert len(written) == 2, "22 seconds"
        assert written[1].startswith("0:20  0 of 1 objects, 32,000 rows, 1,600/s, about 0:10 left; 500 requests, ")
        assert written[1].endswith("429: 3 endpoint-rate, 1 lock; charges 32,000 of about 48,000")
        lines.done("charges", "")
        lines.start("models and tests", 3)
        lines.done("models and tests", "3 built")
    assert written[2].split(maxsplit=1) == [
        "charges",
        "35,200 rows in 0:22, 1,600/s, 420 requests; 429: 3 endpoint-rate",
    ]
    assert written[3].split("  ")[0] == "models and tests"
    assert written[4] == "1 of 1 objects, 35,200 rows, 1,600/s in 0:22"
    assert written[5].startswith("500 requests, 23/s, 23 % of Stripe's limit")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Console:
    """A terminal of 80 by 24."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, color_system=None, highlight=False)
    monkeypatch.setattr(terminal, "console", console)
    return console


def drawn(screen: Console, bars: Bars) -> list[str]:
    with screen.capture() as captured:
        screen.print(bars._draw())
    return captured.get().splitlines()


def test_bars_line_up_within_80_columns_and_half_a_screen(screen: Console) -> None:
    bars = Bars()
    bars.watch(busy())
    names = ("charges", "billing_credit_balance_transactions", "events", "invoices", "refunds", "payouts", "prices")
    more = ("products", "coupons", "customers", "disputes", "quotes", "files", "topups")
    for name in (*names, *more):
        bars.start(name, None)
        bars.advance(name, 1_234_567, 8_000_000)
    bars.start("subscriptions", None)
    bars.start("load charges", 61_440)
    lines = drawn(screen, bars)
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 14
    assert lines[0].split() == ["object", "rows", "of", "rows/s", "limit", "left"]
    ends = {line.index("1,234,567") for line in lines if "1,234,567" in line}
    assert len(ends) == 1, "numbers stand under each other"
    assert any("… and 6 more" in line for line in lines)
    assert any("load charges" in line for line in lines)
    assert lines[-2].startswith("  0 of 15 objects, 17,283,938 rows")
    assert lines[-1].startswith("  500 requests")


def test_an_object_without_rows_yet_takes_no_line(screen: Console) -> None:
    bars = Bars()
    bars.start("charges", None)
    assert [line.strip() for line in drawn(screen, bars)] == ["0 of 1 objects, 0 rows"]


def test_what_one_account_says_of_an_object_does_not_end_it_for_another(screen: Console) -> None:
    bars = Bars()
    bars.start("charges", None)
    bars.start("charges", None)
    bars.advance("charges", 1_000)
    bars.done("charges", "The key may not read it.")
    assert any("charges" in line for line in drawn(screen, bars)), "another account reads it still"
    bars.done("charges", "")
    assert not any("charges" in line for line in drawn(screen, bars))


def test_in_the_end_a_terminal_keeps_what_was_read(screen: Console) -> None:
    with Bars() as bars:
        bars.watch(busy())
        bars.start("charges", None)
        bars.advance("charges", 40_000)
        bars.done("charges", "")
    assert isinstance(screen.file, io.StringIO)
    kept = screen.file.getvalue()
    words = [line.split()[-6:] for line in kept.splitlines()]  # before them stand the codes that erase the bars
    row = words[[line[1:] for line in words].index(["rows", "took", "rows/s", "requests", "429s"]) + 1]
    assert row[:3] == ["charges", "40,000", "0:00"] and row[4:] == ["420", "3"]
    assert "1 of 1 objects, 40,000 rows" in kept
    assert "500 requests" in kept


def test_times_and_guesses_read_well() -> None:
    assert [duration(value) for value in (0.4, 42, 725, 3723)] == ["0:00", "0:42", "12:05", "1:02:03"]
    assert [rounded(value) for value in (7, 99, 81_234, 1_288_000)] == [7, 99, 81_000, 1_300_000]
