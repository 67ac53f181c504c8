"""Serving the receiver on loopback, in the foreground."""

from __future__ import annotations

import errno
import socket

import uvicorn

from dagster_project.errors import PortInUse
from dagster_project.ops.database import open_ops
from dagster_project.receiver.app import create_app
from dagster_project.receiver.endpoint import register
from dagster_project.receiver.secrets import signing_secrets
from dagster_project.settings import Settings

HOST = "127.0.0.1"


def serve(settings: Settings, *, port: int) -> None:
    """Serve until it is stopped. Against the simulator the endpoint registers itself; a real account's is never
    registered without being asked.

    Raises PortInUse, SettingError without a secret.
    """
    with _bound(port) as listening:
        if settings.uses_simulator and not settings.webhook_secrets:
            _register_at_simulator(settings, f"http://{HOST}:{port}/webhooks/stripe")
        engine = open_ops(settings)
        try:
            app = create_app(settings, engine)
            config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
            print(f"Receiving on http://{HOST}:{port}/webhooks/stripe", flush=True)
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            engine.dispose()


def _bound(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except OSError as error:
        listening.close()
        cause = "another program listens there" if error.errno == errno.EADDRINUSE else (error.strerror or "refused")
        raise PortInUse(
            f"The receiver cannot use port {port}: {cause}.",
            "Set LEDGERLINE_RECEIVER_PORT to a free port, or end the other program.",
        ) from error
    return listening


def _register_at_simulator(settings: Settings, url: str) -> None:
    from dagster_project.simulator import process
    from dagster_project.stripe_api.target import reachable

    if (running := process.find(settings.data_dir)) is not None:
        register(settings.replaced(STRIPE_API_BASE=running.base_url), url)
    elif not signing_secrets(settings):
        with reachable(settings) as target:
            register(target, url)
