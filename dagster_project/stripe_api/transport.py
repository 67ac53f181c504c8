"""How Stripe is reached from behind a company's network: its certificate authority and its proxy."""

from __future__ import annotations

import ssl
from urllib.request import getproxies, proxy_bypass

from dagster_project.errors import SettingError


def trust(ca_file: str | None) -> ssl.SSLContext:
    """The certificates that are trusted. Raises SettingError for a file that holds none."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(f"SSL_CERT_FILE: {ca_file} holds no certificates ({error}).", "Name a PEM file.") from error


def proxy_for(scheme: str, host: str, given: str | None) -> str | None:
    """The proxy of the settings or the environment, unless NO_PROXY or the loopback exempts the host. aiohttp's own
    `trust_env` would also look into ~/.netrc at every request, and refuse to work with what it finds there."""
    if host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host):
        return None
    return (given if scheme == "https" else None) or getproxies().get(scheme)
