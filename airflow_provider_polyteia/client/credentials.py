"""The secrets of one connection: its key and tokens, and how to keep them out of texts. Performs no I/O."""

from __future__ import annotations

import html
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_polyteia.client.json_values import to_encodable

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_polyteia.client.config import ClientConfig

EXCERPT_LENGTH = 200


class Credentials:
    """The key of a connection and the access token it was exchanged for. Kept in memory only.

    :param on_secret: called with every new token, so that it can be masked in logs.
    :param clock: returns seconds on a clock that never goes back.
    """

    def __init__(
        self,
        config: ClientConfig,
        on_secret: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.clock = clock
        self.access_token: str | None = None
        self._on_secret = on_secret
        self._secrets = _spellings(config.key)
        self._reported = {config.key}

    def __repr__(self) -> str:
        return f"<Credentials of connection {self.config.conn_id!r}>"

    def add_secret(self, secret: str) -> str:
        """Remember a token as secret, and return it."""
        if secret not in self._reported:
            self._reported.add(secret)
            self._secrets |= _spellings(secret)
            self._on_secret(secret)
        return secret

    def redact(self, value: Any) -> Any:
        """Return a string, or the strings inside lists and objects, with every known secret replaced."""
        if isinstance(value, str):
            for secret in sorted(self._secrets, key=len, reverse=True):
                value = value.replace(secret, "***")
        elif isinstance(value, list):
            return [self.redact(item) for item in value]
        elif isinstance(value, dict):
            return {self.redact(key): self.redact(item) for key, item in value.items()}
        return value

    def excerpt(self, value: Any) -> str:
        """Return the beginning of a response's text or JSON value on one line, without secrets.

        Everything that a response contributes to an exception or a log line passes through here: a gateway may echo the
        key, and a response may be of any size.
        """
        if value is None:
            return ""
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        line = " ".join(self.redact(to_encodable(text)).split())
        return line if len(line) <= EXCERPT_LENGTH else line[:EXCERPT_LENGTH] + "..."


def _spellings(secret: str) -> set[str]:
    """Return the ways in which a response may spell a secret: plain, in JSON, in a log line, in a URL, in HTML."""
    quoted = (json.dumps(secret), repr(secret))
    return {secret, *(text[1:-1] for text in quoted), quote(secret, safe=""), html.escape(secret)}
