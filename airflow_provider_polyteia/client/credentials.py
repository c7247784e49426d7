"""The secrets of one connection: its key and tokens, and how to keep them out of texts. Performs no I/O."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client import redaction
from airflow_provider_polyteia.client.json_values import to_encodable

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_polyteia.client.config import ClientConfig

EXCERPT_LENGTH = 200
# Characters that are processed: fewer than 64 KiB of UTF-8 hold, so that the cut body of an error is also cut here.
_MAX_SOURCE = 16_000
_ENCODER = json.JSONEncoder(ensure_ascii=False)


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
        self._secrets = redaction.spellings(config.key)
        self._reported = {config.key}

    def __repr__(self) -> str:
        return f"<Credentials of connection {self.config.conn_id!r}>"

    def add_secret(self, secret: str) -> str:
        """Remember a token as secret, and return it."""
        if secret not in self._reported:
            self._reported.add(secret)
            self._secrets |= redaction.spellings(secret)
            self._on_secret(secret)
        return secret

    def redact(self, value: Any) -> Any:
        """Return a string, or the strings inside lists and objects, with every known secret replaced.

        A secret is found in any of its spellings (see `redaction.spellings`).
        """
        if isinstance(value, str):
            return redaction.redact(value, self._secrets)
        if isinstance(value, list):
            return [self.redact(item) for item in value]
        if isinstance(value, dict):
            return {self.redact(key): self.redact(item) for key, item in value.items()}
        return value

    def excerpt(self, value: Any) -> str:
        """Return the beginning of a response's text or JSON value on one line, without secrets.

        Everything that a response contributes to an exception or a log line passes through here: a gateway may echo the
        key, and a response may be of any size.
        """
        if value is None:
            return ""
        text = _beginning(value)
        line = " ".join(self.redact(to_encodable(text[:_MAX_SOURCE])).split())
        is_cut = len(text) > _MAX_SOURCE
        if is_cut:  # the end may be a part of a secret, with a space after each character
            line = line[: -2 * max(map(len, self._secrets))]
        return line[:EXCERPT_LENGTH] + "..." if is_cut or len(line) > EXCERPT_LENGTH else line


def _beginning(value: Any) -> str:
    """Return a string, or a JSON value as text; of a long one, a bit more than the beginning that is processed."""
    if isinstance(value, str):
        return value[: _MAX_SOURCE + 1]
    text = ""
    with suppress(RecursionError):  # raised at a depth that is far beyond the end of an excerpt
        for piece in _ENCODER.iterencode(value):
            text += piece[: _MAX_SOURCE + 1]
            if len(text) > _MAX_SOURCE:
                break
    return text
