"""GET requests to Stripe at the pinned version, with what the official SDK leaves to the caller: pace, 429, backoff.

Pages never become SDK objects: `msgspec` cuts a page into its objects and keeps Stripe's own bytes.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec

from dagster_project.errors import (
    SettingError,
    StripeAnswerError,
    StripeAuthError,
    StripePermissionError,
    StripeUnreachable,
)
from dagster_project.settings import Account, Settings
from dagster_project.stripe_api.catalog import API_VERSION, CATALOGUE, StripeObject
from dagster_project.stripe_api.governor import Governor, endpoint_of

_TRIES = 6
_TRIES_429 = 40
_TIMEOUT = aiohttp.ClientTimeout(total=80, connect=20)


class Nested(msgspec.Struct):
    """The head of an embedded list."""

    has_more: bool = False
    url: str = ""


class _Envelope(msgspec.Struct):
    object: str
    data: list[msgspec.Raw]
    has_more: bool


class _Error(msgspec.Struct):
    message: str | None = None
    code: str | None = None
    param: str | None = None
    type: str | None = None


class _Refusal(msgspec.Struct):
    error: _Error


@dataclass(frozen=True)
class Answer:
    """A body with the time (Stripe's clock) when the request started, as far as the `Date` header tells."""

    body: bytes
    asked_at: datetime
    request_id: str


@dataclass(frozen=True)
class Page:
    lines: list[bytes]
    heads: list[Any]
    has_more: bool
    asked_at: datetime
    request: dict[str, Any]


@cache
def _head(name: str) -> msgspec.json.Decoder[Any]:
    """Decodes only what paging needs: id, created and the heads of embedded lists that may go on."""
    row = CATALOGUE[name]
    fields: list[Any] = [("id", str | None, None), (row.created_field, int | None, None), ("deleted", bool, False)]
    for child in CATALOGUE.values():
        if child.parent == row.name and child.parent_field:
            fields.append((child.parent_field, Nested | None, None))
    return msgspec.json.Decoder(msgspec.defstruct(f"Head_{row.name}", fields))


_envelope = msgspec.json.Decoder(_Envelope)
_refusal = msgspec.json.Decoder(_Refusal)


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
    """One account (or one connected account of it); use as an async context manager. Counts in `governor.requests`.

    `clock` is Stripe's time as its answers tell it: the newest `Date` header so far. It never runs backwards.
    """

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
        self._headers = {"Authorization": f"Bearer {account.key}", "Stripe-Version": API_VERSION}
        if connected:
            self._headers["Stripe-Account"] = connected
        self.clock: datetime = clock or datetime.now(UTC)
        self._told = clock is not None
        self._ca_file, self._proxy = ca_file, proxy
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> StripeClient:
        url = urlsplit(self.api_base)
        secure = url.scheme == "https"
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0, ssl=_trust(self._ca_file) if secure else True),
            timeout=_TIMEOUT,
            proxy=_proxy_for(url.scheme, url.hostname or "", self._proxy),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def page(self, row: StripeObject, path: str, params: Mapping[str, Any], *, again: int = 2) -> Page:
        """One list page of objects of `row`.

        Raises StripeAnswerError for an answer that is no list, an object without id, or `has_more` with no data.
        """
        query: list[tuple[str, str]] = [
            ("limit", "100"),
            *_flat(params),
            *(("expand[]", f"data.{e}") for e in row.expand),
        ]
        answer = await self.get(path, query)
        try:
            envelope = _envelope.decode(answer.body)
            heads = [self.head(row, item) for item in envelope.data]
        except msgspec.MsgspecError as error:
            raise StripeAnswerError(
                f"{row.name}: {path} did not answer with a list ({error}).",
                "Check STRIPE_API_BASE.", request_id=answer.request_id,
            ) from error  # fmt: skip
        if envelope.has_more and not heads:
            if again:
                return await self.page(row, path, params, again=again - 1)
            raise StripeAnswerError(
                f"{row.name}: {path} says that there is more and sends nothing.", "Run again; nothing was skipped.",
                request_id=answer.request_id,
            )  # fmt: skip
        request = {"path": path, "params": dict(query), "request_id": answer.request_id, "rows": len(heads)}
        lines = [msgspec.json.format(bytes(item), indent=-1) for item in envelope.data]
        return Page(lines, heads, envelope.has_more, answer.asked_at, request)

    def head(self, row: StripeObject, line: bytes | msgspec.Raw) -> Any:
        """`id`, `created`, `deleted` and the embedded lists of an object; raises msgspec.MsgspecError for no object."""
        try:
            return _head(row.name).decode(line)
        except msgspec.ValidationError:
            # A field where a list is expected holds something else, as servers of older versions may send.
            plain: dict[str, Any] = msgspec.json.decode(line, type=dict)
            type_ = _head(row.name).type
            usable = {
                name: plain[name]
                for name in type_.__struct_fields__
                if name in plain and (isinstance(plain[name], dict) or name in ("id", "deleted", row.created_field))
            }
            return msgspec.convert(usable, type_)

    async def one(self, row: StripeObject, path: str) -> tuple[bytes | None, Answer | None]:
        """An object by its path, compact; (None, None) when Stripe says that it does not exist."""
        try:
            answer = await self.get(path, [("expand[]", name) for name in row.expand])
        except StripeAnswerError as error:
            if error.status == 404:
                return None, None
            raise
        return msgspec.json.format(answer.body, indent=-1), answer

    async def get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Answer:
        """The body of a GET that Stripe answered with 200 and JSON.

        Raises StripeAuthError (401), StripePermissionError (403), StripeAnswerError (other refusals, no JSON) and
        StripeUnreachable; retries what is safe.
        """
        if self._session is None:
            raise RuntimeError("use the client as an async context manager")
        endpoint = endpoint_of(path)
        tries = refused = 0
        while True:
            async with self.governor.turn(endpoint) as turn:
                asked = self.clock
                try:
                    async with self._session.get(f"{self.api_base}{path}", params=query) as answer:
                        body = await answer.read()
                        status, headers = answer.status, answer.headers
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    tries += 1
                    no_way = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
                    if tries >= _TRIES and not no_way:
                        raise StripeAnswerError(
                            f"{path} did not answer completely in {tries} tries ({type(error).__name__}).",
                            "Run again later.",
                        ) from error
                    if no_way and tries >= 3:
                        raise StripeUnreachable(
                            f"{self.api_base} does not answer ({type(error).__name__} on {path}).",
                            "Check STRIPE_API_BASE, the network, HTTPS_PROXY and SSL_CERT_FILE.",
                        ) from error
                    status = 0
            if not status:
                await asyncio.sleep(_pause(tries))
                continue
            self._tell_time(headers.get("Date"))
            request_id = headers.get("Request-Id", "")
            if status == 200:
                if body[:1] in (b"{", b" ", b"\n") and _is_json(body):
                    return Answer(body, asked, request_id)
                if body.lstrip()[:1] == b"<":
                    raise StripeUnreachable(
                        f"{self.api_base} answers with a web page, not as Stripe does ({path}).",
                        "Check STRIPE_API_BASE and the proxy.", status=status, request_id=request_id,
                    )  # fmt: skip
                tries += 1
                if tries >= 3:
                    raise StripeAnswerError(
                        f"{path} answered with something that is no JSON or is cut short.",
                        "Check that STRIPE_API_BASE leads to Stripe; otherwise run again.", request_id=request_id,
                    )  # fmt: skip
            elif status == 429:
                refused += 1
                self.governor.refused(turn, headers.get("Stripe-Rate-Limited-Reason", ""))
                if refused >= _TRIES_429:
                    raise StripeAnswerError(
                        f"{path} was refused {refused} times for its rate (429).", "Run again at a quieter hour.",
                        status=429, request_id=request_id,
                    )  # fmt: skip
                tries = 0
                await asyncio.sleep(_pause(min(refused, 4)) / 2)
                continue
            elif status in (409, 424) or status >= 500:
                tries += 1
                if tries >= _TRIES:
                    raise StripeAnswerError(
                        f"{path} failed {tries} times (HTTP {status}{_reason(body)}).", "Run again later.",
                        status=status, request_id=request_id,
                    )  # fmt: skip
            else:
                raise self._refusal(path, status, body, request_id)
            await asyncio.sleep(_pause(tries))

    def _refusal(self, path: str, status: int, body: bytes, request_id: str) -> Exception:
        name = self.account.name
        if status == 401:
            return StripeAuthError(
                f"The key of account {name!r} is not accepted.", "Set a valid key; `ledgerline doctor` checks it.",
                status=status, request_id=request_id,
            )  # fmt: skip
        if status == 403:
            return StripePermissionError(
                f"The key of account {name!r} may not read {path}{_reason(body)}.", "Give it read permission there.",
                status=status, request_id=request_id,
            )  # fmt: skip
        if _stripes_error(body) is None:
            # Without its status: a 404 of something in between must not look like a deleted object.
            return StripeAnswerError(
                f"{self.api_base} answers, but not as Stripe does (HTTP {status} on {path}).", "Check STRIPE_API_BASE.",
                request_id=request_id,
            )  # fmt: skip
        return StripeAnswerError(
            f"{path} was refused (HTTP {status}{_reason(body)}).",
            "See Stripe's message.",
            status=status,
            request_id=request_id,
        )

    def _tell_time(self, date: str | None) -> None:
        if date:
            try:
                self.clock = max(self.clock, parsedate_to_datetime(date)) if self._told else parsedate_to_datetime(date)
                self._told = True
            except ValueError:
                return


def _trust(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(f"SSL_CERT_FILE: {ca_file} holds no certificates ({error}).", "Name a PEM file.") from error


def _proxy_for(scheme: str, host: str, given: str | None) -> str | None:
    """The proxy of the settings or the environment, unless NO_PROXY or the loopback exempts the host. aiohttp's own
    `trust_env` would also look into ~/.netrc at every request, and refuse to work with what it finds there."""
    if host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host):
        return None
    return (given if scheme == "https" else None) or getproxies().get(scheme)


def _flat(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in params.items() if value is not None]


def _pause(tries: int) -> float:
    """Exponential with full jitter, at most 16 s."""
    return float(min(16.0, 0.5 * 2 ** (tries - 1)) * random.uniform(0.5, 1.0))  # noqa: S311


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.MsgspecError:
        return False
    return True


def _stripes_error(body: bytes) -> _Error | None:
    try:
        return _refusal.decode(body).error
    except msgspec.MsgspecError:
        return None


def _reason(body: bytes) -> str:
    error = _stripes_error(body)
    return f": {error.message}" if error and error.message else ""
