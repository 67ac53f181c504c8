"""Stripe's time, as the `Date` headers of its answers tell it.

The simulator's time may be any and may jump; a single header that is wild must not move what the extraction calls now.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_TOLERANCE = timedelta(minutes=10)
_CONFIRMED_BY = 3  # answers in a row


class StripeClock:
    """`now` is the newest time that was told; it stands still between answers and never runs ahead of Stripe.

    A header that says something impossible (earlier by more than answers overtake each other, or later by more than has
    passed) counts only once three in a row agree, or at once when this machine's own clock takes its side. A little
    behind is never followed, so times of observation do not run backwards.
    """

    def __init__(self, now: datetime | None = None) -> None:
        self.now, self._told = now or datetime.now(UTC), now is not None
        self._at = time.monotonic()
        self._text = ""
        self._doubtful: list[datetime] = []

    def tell(self, header: str | None) -> None:
        """Take a `Date` header into account; none, or one that is no date, tells nothing."""
        # Many answers share a second; a doubtful one must be counted each time.
        if header is None or (header == self._text and not self._doubtful):
            return
        try:
            date = parsedate_to_datetime(header).astimezone(UTC)
        except (ValueError, OverflowError):
            return
        self._text = header
        passed = timedelta(seconds=time.monotonic() - self._at)
        if self._told and -_TOLERANCE <= date - self.now <= passed + _TOLERANCE:
            self._follow(max(date, self.now))
        elif not self._told or (_is_ours(date) and not _is_ours(self.now)):
            self._follow(date)
        else:
            if self._doubtful and abs(date - self._doubtful[-1]) > _TOLERANCE:
                self._doubtful.clear()
            self._doubtful.append(date)
            if len(self._doubtful) >= _CONFIRMED_BY:
                self._follow(date)

    def _follow(self, date: datetime) -> None:
        self.now, self._told, self._at = date, True, time.monotonic()
        self._doubtful.clear()


def _is_ours(date: datetime) -> bool:
    return abs(date - datetime.now(UTC)) <= _TOLERANCE
