"""GET requests to Stripe at the pinned version, with what the official SDK leaves to the caller: pace, 429, backoff.

Nothing is changed at Stripe, so every request may be made again. What may pass is tried again, what does not is refused
in words; and nothing that is incomplete or not Stripe's is ever taken for an answer.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from dagster_project.errors import (
    StripeAnswerError,
    StripeAuthError,
    StripeError,
    StripePermissionError,
    StripeUnreachable,
)
from dagster_project.settings import Account, Settings
from dagster_project.stripe_api.catalog import API_VERSION, StripeObject
from dagster_project.stripe_api.clock import StripeClock
from dagster_project.stripe_api.governor import Governor, endpoint_of
from dagster_project.stripe_api.pages import Page, Unusable, head, read_object, read_page, where
from dagster_project.stripe_api.permissions import how_to_permit
from dagster_project.stripe_api.transport import proxy_for, trust

_TIMEOUT = aiohttp.ClientTimeout(total=80, connect=20)
_KINDS: Mapping[str, int] = {  # of trouble that may pass, and how often it may happen to one request
    "failed": 12,  # 5xx, or a connection or body that broke off: some 40 s of patience
    "silent": 4,  # no answer within the time limit
    "nobody": 12,  # no connection
    "stranger": 4,  # a whole answer that is not Stripe's
    "limited": 40,  # 429: some four minutes
}
_TRIES_FIRST = 3  # where nobody has ever answered
_T = TypeVar("_T")


@dataclass(frozen=True)
class Answer:
    """A body with the time (Stripe's clock) when the request started, as far as the `Date` header tells."""

    body: bytes
    asked_at: datetime
    request_id: str


class _Again(Exception):
    """A try that may be made again. `error` is what it becomes when it does not pass."""

    def __init__(self, kind: str, error: StripeError) -> None:
        self.kind, self.error = kind, error


class _Error(msgspec.Struct):
    message: str | None = None
    code: str | None = None


class _Refusal(msgspec.Struct):
    error: _Error


_refusal = msgspec.json.Decoder(_Refusal)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def connect(
    settings: Settings,
    account: Account,
    governor: Governor,
    *,
    connected: str | None = None,
    clock: datetime | None = None,
) -> StripeClient:
    """The client of an account as the settings want it: address, proxy, certificate authority."""
    return StripeClient(
        account,
        account.api_base or settings.api_base,
        governor,
        connected=connected,
        clock=clock,
        ca_file=settings["SSL_CERT_FILE"],
        proxy=settings["HTTPS_PROXY"],
    )


class StripeClient:
    """One account (or one connected account of it); use as an async context manager. Counts in `governor.requests`."""

    def __init__(
        self,
        account: Account,
        api_base: str,
        governor: Governor,
        *,
        connected: str | None = None,
        clock: datetime | None = None,
        ca_file: str | None = None,
        proxy: str | None = None,
    ) -> None:
        self.account, self.api_base, self.governor = account, api_base.rstrip("/"), governor
        self.connected = connected
        self._headers = {
            "Authorization": f"Bearer {account.key}", "Stripe-Version": API_VERSION, "Accept-Encoding": "gzip",
        }  # fmt: skip
        if connected:
            self._headers["Stripe-Account"] = connected
        self._clock = StripeClock(clock)
        self._ca_file, self._proxy = ca_file, proxy
        self._session: aiohttp.ClientSession | None = None
        self._answered = False

    async def __aenter__(self) -> StripeClient:
        url = urlsplit(self.api_base)
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(
                limit=0,  # the governor's room is the limit
                ssl=trust(self._ca_file) if url.scheme == "https" else True,
                keepalive_timeout=60,
                ttl_dns_cache=300,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_TIMEOUT,
            proxy=proxy_for(url.scheme, url.hostname or "", self._proxy),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    @property
    def clock(self) -> datetime:
        """Stripe's time, as its answers tell it."""
        return self._clock.now

    async def page(self, row: StripeObject, path: str, params: Mapping[str, Any]) -> Page:
        """One list page of objects of `row`. Raises what `get` raises; an answer that is no list, an object without id,
        and `has_more` with no data are a StripeAnswerError."""
        query = [
            ("limit", "100"),
            *((name, str(value)) for name, value in params.items() if value is not None),
            *(("expand[]", f"data.{name}") for name in row.expand),
        ]
        (lines, heads, more), answer = await self._ask(row.name, path, query, lambda body: read_page(row, body))
        request = {"path": path, "params": dict(query), "request_id": answer.request_id, "rows": len(heads)}
        return Page(lines, heads, more, answer.asked_at, request)

    def head(self, row: StripeObject, line: bytes | msgspec.Raw) -> Any:
        """`id`, `created`, `deleted` and the embedded lists of an object; raises msgspec.DecodeError for no object."""
        return head(row, line)

    async def one(self, row: StripeObject, path: str) -> tuple[bytes | None, Answer | None]:
        """An object by its path, compact; (None, None) when Stripe says that it does not exist."""
        query = [("expand[]", name) for name in row.expand]
        try:
            return await self._ask(row.name, path, query, lambda body: read_object(row, body))
        except StripeAnswerError as error:
            if error.status == 404:
                return None, None
            raise

    async def get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Answer:
        """The body of a GET that Stripe answered with 200 and a JSON object.

        Raises StripeAuthError (401), StripePermissionError (403), StripeAnswerError (another refusal, or trouble that
        does not pass) and StripeUnreachable (nobody answers, or not as Stripe does).
        """
        _, answer = await self._ask("", path, query, _object.decode)
        return answer

    async def _ask(
        self, name: str, path: str, query: Sequence[tuple[str, str]], read: Callable[[bytes], _T]
    ) -> tuple[_T, Answer]:
        """What `read` makes of the body, after as many tries as the kind of trouble is worth."""
        tries = Counter[str]()
        while True:
            try:
                return await self._try(name, path, query, read)
            except _Again as again:
                tries[again.kind] += 1
                most = _KINDS[again.kind]
                if again.kind == "nobody" and not self._answered:
                    most = _TRIES_FIRST
                if tries[again.kind] >= most:
                    raise again.error from again.__cause__
                await asyncio.sleep(_pause(tries[again.kind]))

    async def _try(
        self, name: str, path: str, query: Sequence[tuple[str, str]], read: Callable[[bytes], _T]
    ) -> tuple[_T, Answer]:
        if self._session is None:
            raise RuntimeError("use the client as an async context manager")
        request_id = ""
        async with self.governor.turn(endpoint_of(path)) as turn:
            asked = self._clock.now
            try:
                async with self._session.get(f"{self.api_base}{path}", params=query, allow_redirects=False) as answer:
                    status, headers = answer.status, answer.headers
                    request_id = headers.get("Request-Id", "")
                    body = await answer.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise self._broken(error, where(name, path, dict(query)), request_id) from error
        if status == 200:
            try:
                made = read(body)
            except (Unusable, msgspec.DecodeError) as error:
                raise self._unreadable(error, body, where(name, path, dict(query)), request_id) from error
            self._answered = True
            self._clock.tell(headers.get("Date"))
            return made, Answer(body, asked, request_id)
        if status == 429:
            self.governor.refused(turn, headers.get("Stripe-Rate-Limited-Reason", ""))
        raise self._refused(status, headers, body, where(name, path, dict(query)), request_id)

    # ---- what went wrong -----------------------------------------------------------------------------------
    def _broken(self, error: Exception, what: str, request_id: str) -> _Again:
        how = type(error).__name__
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            step = "Check STRIPE_API_BASE, the network, HTTPS_PROXY and SSL_CERT_FILE."
            return _Again("nobody", StripeUnreachable(f"{self.api_base} does not answer ({how}; {what}).", step))
        kind = "silent" if isinstance(error, TimeoutError) else "failed"
        text = f"{what} did not answer completely in {_KINDS[kind]} tries ({how})."
        return _Again(kind, StripeAnswerError(text, "Run again later.", request_id=request_id))

    def _unreadable(self, error: Exception, body: bytes, what: str, request_id: str) -> _Again:
        start = body.lstrip()[:1]
        step = "Check that STRIPE_API_BASE leads to Stripe; otherwise run again. Nothing was skipped."
        if isinstance(error, Unusable | msgspec.ValidationError):
            return _Again("stranger", StripeAnswerError(f"{what}: the answer {error}.", step, request_id=request_id))
        if start in (b"{", b""):
            text = f"{what}: the answer was cut short in {_KINDS['failed']} tries."
            return _Again("failed", StripeAnswerError(text, step, request_id=request_id))
        kind = "a web page" if start == b"<" else "no JSON"
        text = f"{self.api_base} answers with {kind}, not as Stripe does ({what})."
        return _Again(
            "stranger", StripeUnreachable(text, "Check STRIPE_API_BASE and the proxy.", request_id=request_id)
        )

    def _refused(
        self, status: int, headers: Mapping[str, str], body: bytes, what: str, request_id: str
    ) -> _Again | StripeError:
        """Rules: https://docs.stripe.com/error-low-level; `Stripe-Should-Retry` is what the official clients follow."""
        found = _message(body)
        if found is not None:
            self._clock.tell(headers.get("Date"))
        reason = f"HTTP {status}: {found.rstrip('.')}" if found else f"HTTP {status}"
        who, wish = self.account.name, headers.get("Stripe-Should-Retry")
        told: dict[str, Any] = {"status": status, "request_id": request_id}
        if status == 429:
            text = f"{what} was refused {_KINDS['limited']} times for its rate ({reason})."
            return _Again("limited", StripeAnswerError(text, "Run again at a quieter hour.", **told))
        if found is None and status < 500:
            # Without its status: a 404 of something in between must not look like a deleted object.
            text = f"{self.api_base} answers, but not as Stripe does ({reason}; {what})."
            return _Again("stranger", StripeAnswerError(text, "Check STRIPE_API_BASE.", request_id=request_id))
        if wish == "true" or (wish != "false" and (status in (409, 424) or status >= 500)):
            text = f"{what} failed {_KINDS['failed']} times ({reason})."
            return _Again("failed", StripeAnswerError(text, "Run again later.", **told))
        if status == 401:
            step = "Set a valid key; `ledgerline doctor` checks it."
            return StripeAuthError(f"The key of account {who!r} is not accepted.", step, **told)
        if status == 403 and _refusal.decode(body).error.code == "account_invalid":
            text = f"The key of account {who!r} does not reach {self.connected or 'its account'} (any more)."
            return StripeAuthError(text, "Connect it again, or take it out of LEDGERLINE_ACCOUNTS.", **told)
        if status == 403:
            text = f"The key of account {who!r} may not read {what} ({reason})."
            return StripePermissionError(text, how_to_permit(reason), **told)
        return StripeAnswerError(f"{what} was refused ({reason}).", "See Stripe's message.", **told)


def _message(body: bytes) -> str | None:
    """What Stripe says in an error; '' where it says nothing, None where the body is not Stripe's."""
    try:
        return _refusal.decode(body).error.message or ""
    except msgspec.DecodeError:
        return None


def _pause(tries: int) -> float:
    """Seconds: exponential with jitter, at most 8."""
    return float(min(8.0, 0.25 * 2 ** (tries - 1)) * random.uniform(0.5, 1.0))  # noqa: S311


__all__ = ["Answer", "Page", "StripeClient", "connect"]
