"""The sessions for which keys were exchanged: one per process and connection, in memory only. Performs no I/O.

The exchange is a login, so it is made as rarely as possible: a session is kept beyond the client that began it, and is
shared by all clients of the process with the same connection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.rpc_api.envelope import Dialect

RENEWAL_MARGIN = 60.0

_sessions: dict[tuple[str, str, str | None, str | None], Session] = {}


@dataclass(frozen=True, slots=True)
class Session:
    """A session that was begun with a key.

    :param organization_id: the organization that it is for; None if the platform does not say.
    :param dialect: the dialect of the platform.
    :param renew_at: when to begin a new one, on the client's clock. Default: None, when it is rejected.
    """

    token: str = field(repr=False)
    organization_id: str | None
    dialect: Dialect
    renew_at: float | None = None


def keep(credentials: Credentials, session: Session) -> Session:
    """Keep a session for all clients with the same connection, and return it."""
    _sessions[_key(credentials)] = session
    return session


def kept(credentials: Credentials) -> Session | None:
    """Return the session to use; None if there is none, or if it is about to expire."""
    session = _sessions.get(_key(credentials))
    if session is None or (session.renew_at is not None and credentials.clock() >= session.renew_at):
        return None
    credentials.add_secret(session.token)
    return session


def drop(credentials: Credentials, session: Session) -> None:
    """Forget a session that was rejected, unless it was renewed in the meantime."""
    key = _key(credentials)
    if _sessions.get(key) is session:
        _sessions.pop(key, None)


def renewal_time(now: float, lifetime: float | None) -> float | None:
    """Return when a session is to be renewed: a minute before it expires, or halfway through a shorter life.

    :param now: on the client's clock.
    :param lifetime: time in seconds until it expires; None if the platform does not say.
    :return: on the client's clock; None, when it is rejected, also for a new session that is said to have expired: the
        clocks of the platform disagree, and a new session per request would not help.
    """
    if lifetime is None or lifetime <= 0:
        return None
    return now + max(lifetime - RENEWAL_MARGIN, lifetime / 2)


def _key(credentials: Credentials) -> tuple[str, str, str | None, str | None]:
    config = credentials.config
    return config.base_url, config.key, config.organization_id, config.organization_slug
