"""What upload and download share: attempts with fresh tokens, and how long one may take.

Both may be repeated: an upload replaces the dataset's data (API reference 7.3), a download changes nothing. How long
a token lives, and whether it can be used twice, nobody says: each attempt asks for its own.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_polyteia.client.calls import Call
from airflow_provider_polyteia.client.methods import Method, Repeat
from airflow_provider_polyteia.client.protocol import converse
from airflow_provider_polyteia.exceptions import (
    PolyteiaAuthenticationError,
    PolyteiaError,
    PolyteiaNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_polyteia.client.sync import PolyteiaClient

log = logging.getLogger(__name__)

# Seconds without a byte in either direction that end an attempt, unless the connection's timeout is longer. The
# platform may take its time with a large file before it answers.
PATIENCE = 300.0

T = TypeVar("T")


def patience(client: PolyteiaClient, timeout: float | None) -> float:
    """Return the seconds of silence that end an attempt: `timeout`, if it is given."""
    return max(PATIENCE, client.config.timeout[1]) if timeout is None else timeout


def repeat(client: PolyteiaClient, path: str, params: Mapping[str, Any], attempt: Callable[[], T]) -> T:
    """Run `attempt` until it succeeds, within the client's limits.

    `max_elapsed` counts the waits between attempts only: a large file takes the time it takes, and if it breaks off
    late, it is worth another attempt.
    """
    attempts = client.attempts(Call(Method(path, "command", repeat=Repeat.SAFE), params, repeatable=True))

    def counted() -> T:
        begun = client.clock()
        try:
            return attempt()
        except PolyteiaError as error:
            attempts.deadline += client.clock() - begun
            attempts.settle(error)
            raise

    return client.repeat(attempts, counted)


def with_token(client: PolyteiaClient, token_call: Call, use: Callable[[str], T]) -> T:
    """Ask for a token and use it; if just that token is refused, once more with a fresh one."""
    token = _token(client, token_call)
    try:
        return use(token)
    except (PolyteiaAuthenticationError, PolyteiaNotFoundError) as error:
        # The key was good a moment ago, when it got the token. If it is not any more, the next token says so.
        log.warning("The token just issued was refused, trying once more with a fresh one: %s", error)
    return use(_token(client, token_call))


def _token(client: PolyteiaClient, token_call: Call) -> str:
    token: str = client.run(converse(token_call, client.identity)).data["token"]
    return token


def unwritable(name: str, error: Exception) -> PolyteiaError:
    """Build the error of a file that cannot be written, e.g. because the disk is full."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return PolyteiaError(f"{name!r} could not be written: {reason}. What was written of it has been removed.")
