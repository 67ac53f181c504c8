"""Slack: messages with the effect's id in their metadata, by which one is found again; without a token, files."""

from __future__ import annotations

import json
import ssl
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib.error import URLError

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from dagster_project.activation.destinations.base import Destination, NotApplied, Outgoing, Permanent, Unknown
from dagster_project.activation.destinations.outbox import write_atomic

EVENT_TYPE = "ledgerline_effect"
# Slack's words for its own trouble (https://docs.slack.dev/reference/methods/chat.postMessage/): nothing says whether
# it was posted.
_UNSURE = {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
_LATER = {"ratelimited", "rate_limited", "message_limit_exceeded"}
# Wrong settings, not a wrong message: once a person has corrected them the same messages go out.
_SETTINGS = {
    "not_authed", "invalid_auth", "account_inactive", "token_revoked", "token_expired", "missing_scope",
    "channel_not_found", "not_in_channel", "is_archived",
}  # fmt: skip


class Slack(Destination):
    """A bot that posts to one channel. Reading the history needs the scope `channels:history`; without it, a message
    of which nobody knows whether it arrived waits for a person."""

    recovery = "probe"

    def __init__(
        self, token: str, channel: str, *, base_url: str = "https://slack.com/api/", proxy: str | None = None,
        timeout: int = 15,
    ) -> None:  # fmt: skip
        self.channel = channel
        # The SDK's own handler sends again after a lost connection, and Slack has no key against a second message.
        self._client = WebClient(
            token=token,
            base_url=base_url,
            proxy=proxy if base_url.startswith("https:") else None,
            timeout=timeout,
            retry_handlers=[],
        )

    def send(self, effect: Outgoing) -> str | None:
        try:
            answer = self._client.chat_postMessage(
                channel=self.channel,
                text=effect.payload["text"],
                blocks=effect.payload.get("blocks") or None,
                metadata={"event_type": EVENT_TYPE, "event_payload": {"effect_id": effect.id}},
                unfurl_links=False,
                unfurl_media=False,
            )
        except SlackApiError as error:
            raise _meaning(error) from error
        except URLError as error:
            raise _of_connection(error) from error
        except (OSError, HTTPException, ValueError) as error:
            raise Unknown(f"Slack: {type(error).__name__}") from error
        return f"{answer['channel']}/{answer['ts']}"

    def find(self, effect: Outgoing) -> str | Literal[False] | None:
        # A minute earlier: the two clocks may differ.
        oldest = (effect.first_sent_at or effect.occurred_at).timestamp() - 60
        cursor: str | None = None
        try:
            channel = self._channel_id()
            while True:
                page = self._client.conversations_history(
                    channel=channel, oldest=f"{oldest:.6f}", include_all_metadata=True, limit=200, cursor=cursor
                )
                for message in page["messages"]:
                    found = (message.get("metadata") or {}).get("event_payload") or {}
                    if found.get("effect_id") == effect.id:
                        return f"{channel}/{message['ts']}"
                cursor = ((page.get("response_metadata") or {}).get("next_cursor")) or None
                if cursor is None:
                    return False
        except (SlackApiError, OSError, HTTPException, ValueError, KeyError):
            return None

    def _channel_id(self) -> str:
        """The history wants the channel's id, where posting takes a name as well."""
        name, cursor = self.channel.lstrip("#"), None
        while True:
            page = self._client.conversations_list(exclude_archived=True, limit=1000, cursor=cursor)
            for channel in page["channels"]:
                if name in (channel["id"], channel["name"]):
                    return str(channel["id"])
            cursor = ((page.get("response_metadata") or {}).get("next_cursor")) or None
            if cursor is None:
                raise KeyError(name)


def _meaning(error: SlackApiError) -> Exception:
    response: Any = error.response
    code = str(response.get("error") or "") if response.status_code == 200 else ""
    text = f"Slack: {code or f'HTTP {response.status_code}'}"
    if response.status_code == 429 or code in _LATER:
        wait = str(response.headers.get("Retry-After") or response.headers.get("retry-after") or "")
        return NotApplied(text, float(wait) if wait.isdigit() else None)
    if response.status_code >= 500 or code in _UNSURE:
        return Unknown(text)
    if code in _SETTINGS or response.status_code in (401, 403):
        return NotApplied(f"{text}; check SLACK_BOT_TOKEN and SLACK_CHANNEL", pause=True)
    return Permanent(text)


def _of_connection(error: URLError) -> Exception:
    """urllib wraps in URLError what fails until the request is written; only before that it is certain."""
    before = (ConnectionRefusedError, ssl.SSLCertVerificationError)
    # getaddrinfo's error is an OSError of its own kind.
    certain = isinstance(error.reason, before) or type(error.reason).__name__ == "gaierror"
    text = f"Slack: {type(error.reason).__name__}"
    return NotApplied(text, pause=True) if certain else Unknown(text)


def _plain(text: str) -> str:
    """The text as Slack shows it: its three escapes undone (https://docs.slack.dev/messaging/formatting-message-text)."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").rstrip() + "\n"


class SlackOutbox(Destination):
    """What Slack would have shown: the text to read, and the Block Kit message as JSON."""

    recovery = "upsert"
    batch = 500

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def send_many(self, effects: Sequence[Outgoing]) -> list[str | Exception | None]:
        ids: list[str | Exception | None] = []
        for effect in effects:
            name = f"{effect.occurred_at:%Y%m%dT%H%M%SZ}-{effect.id[:8]}"
            message = {
                "text": effect.payload["text"],
                "blocks": effect.payload.get("blocks") or [],
                "metadata": {"event_type": EVENT_TYPE, "event_payload": {"effect_id": effect.id}},
            }
            write_atomic(self.folder / f"{name}.json", json.dumps(message, indent=2, ensure_ascii=False) + "\n")
            write_atomic(self.folder / f"{name}.txt", _plain(effect.payload["text"]))
            ids.append(name)
        return ids
