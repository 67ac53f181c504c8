"""The receiver's HTTP: verify the raw bytes, store, answer. A 200 means that the event is kept."""

from __future__ import annotations

import logging

import stripe
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dagster_project.errors import SettingError
from dagster_project.receiver import inbox
from dagster_project.receiver.secrets import signing_secrets
from dagster_project.settings import Settings

MAX_BODY = 1_000_000
TOLERANCE_S = 300  # Stripe's own; an older signature may be a replay
log = logging.getLogger(__name__)


def create_app(settings: Settings, engine: Engine) -> Starlette:
    """The application. Raises SettingError without a signing secret: an unverified webhook is anybody's word."""
    secrets = signing_secrets(settings)
    if not secrets:
        raise SettingError(
            "The receiver has no signing secret.",
            "Set STRIPE_WEBHOOK_SECRET, or run `ledgerline webhooks register URL`.",
        )

    async def receive(request: Request) -> JSONResponse:
        body = await _body(request)
        if body is None:
            return JSONResponse({"error": f"The body is larger than {MAX_BODY} bytes."}, 413)
        if not _signed(body, request.headers.get("stripe-signature"), secrets):
            return JSONResponse({"error": "The signature does not fit."}, 400)
        try:
            new = await run_in_threadpool(inbox.store, engine, body, account=request.path_params.get("account"))
        except (ValueError, TypeError, AttributeError):
            return JSONResponse({"error": "The body is no event of Stripe."}, 400)
        except SQLAlchemyError as error:
            log.error("An event could not be stored: %s", type(error).__name__)
            return JSONResponse({"error": "The event could not be stored; send it again."}, 503)
        return JSONResponse({"received": True, "duplicate": not new})

    async def healthz(_request: Request) -> JSONResponse:
        try:
            await run_in_threadpool(_answers, engine)
        except SQLAlchemyError:
            return JSONResponse({"ok": False, "error": "The ops database does not answer."}, 503)
        return JSONResponse({"ok": True})

    return Starlette(
        routes=[
            Route("/webhooks/stripe", receive, methods=["POST"]),
            Route("/webhooks/stripe/{account}", receive, methods=["POST"]),
            Route("/healthz", healthz),
        ],
        exception_handlers={404: _refused, 405: _refused},
    )


async def _body(request: Request) -> bytes | None:
    """The body, or None as soon as it is too large, whatever its Content-Length said."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
    return b"".join(parts)


def _signed(body: bytes, header: str | None, secrets: tuple[str, ...]) -> bool:
    for secret in secrets:
        try:
            if stripe.WebhookSignature.verify_header(body, header or "", secret, TOLERANCE_S):
                return True
        except (stripe.SignatureVerificationError, UnicodeDecodeError):
            continue
    return False


def _answers(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    status = getattr(error, "status_code", 500)
    return JSONResponse({"error": str(getattr(error, "detail", "Not possible."))}, status)


__all__ = ["MAX_BODY", "create_app"]
