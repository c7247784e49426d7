"""Who is calling, and what they may do: keys and the tokens that stand for them."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.backend.errors import Unauthorized

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.backend.store import Record
    from airflow_provider_polyteia.sandbox.options import Options


@dataclass(frozen=True)
class Caller:
    """The rights behind a key or access token.

    :param read_only: may not call anything that writes.
    :param shut_out: ids of the solutions whose content is refused.
    :param organization_id: the only organization an exchanged token is good for; None for a key.
    """

    read_only: bool = False
    shut_out: frozenset[str] = frozenset()
    organization_id: str | None = None

    def belongs(self, record: Record) -> bool:
        """Tell whether the record is inside what this credential is for at all."""
        return self.organization_id in (None, record["id"], record.get("organization_id"))

    def is_shut_out(self, record: Record) -> bool:
        """Tell whether the record is, or lies in, a solution this caller is refused."""
        return record["id"] in self.shut_out or record.get("solution_id") in self.shut_out


@dataclass(frozen=True)
class _Ticket:
    """What a token is good for, and until when (seconds on the monotonic clock)."""

    content: Any
    expires: float | None = None


@dataclass
class Tickets:
    """Tokens handed out, in memory only. Unguessable and never shown."""

    _tickets: dict[str, _Ticket] = field(default_factory=dict, repr=False)

    def issue(self, content: Any, lifetime: float | None = None) -> str:
        """A new token for the content, good for `lifetime` seconds or for ever."""
        token = secrets.token_urlsafe(32)
        expires = None if lifetime is None else time.monotonic() + lifetime
        self._tickets[token] = _Ticket(content, expires)
        return token

    def look(self, token: str) -> Any:
        """What the token is good for; None when it is unknown or over."""
        ticket = self._tickets.get(token)
        if ticket is None or (ticket.expires is not None and time.monotonic() >= ticket.expires):
            return None
        return ticket.content

    def take(self, token: str) -> Any:
        """As `look`, and the token is used up."""
        content = self.look(token)
        self._tickets.pop(token, None)
        return content


class Access:
    """Keys, and the tokens they were exchanged for."""

    def __init__(self, options: Options) -> None:
        self._callers = {key: Caller() for key in options.paks}
        self._callers |= {key: Caller(read_only=True) for key in options.read_only_paks}
        for key, solutions in options.shut_out.items():
            known = self._callers.get(key, Caller())
            self._callers[key] = replace(known, shut_out=frozenset(solutions))
        self._tokens = Tickets()
        self._token_lifetime = options.token_lifetime

    def caller(self, authorization: str | None) -> Caller:
        """The caller behind an `Authorization` header.

        :raises Unauthorized: there is none, or the key or token is wrong or over.
        """
        credential = _bearer(authorization)
        caller = self._callers.get(credential) or self._tokens.look(credential)
        if not isinstance(caller, Caller):
            raise Unauthorized
        return caller

    def key_holder(self, authorization: str | None) -> Caller:
        """As `caller`, but only a key is good enough: what the token exchange asks for.

        :raises Unauthorized: as `caller`.
        """
        caller = self._callers.get(_bearer(authorization))
        if caller is None:
            raise Unauthorized
        return caller

    def exchange(self, caller: Caller, organization_id: str) -> str:
        """An access token with the caller's rights, for one organization (API reference 2.2)."""
        scoped = replace(caller, organization_id=organization_id)
        return self._tokens.issue(scoped, self._token_lifetime)

    def revoke(self, key: str) -> None:
        """Make a key invalid at once, as deleting it in the web interface does (API reference 2.1)."""
        self._callers.pop(key, None)


def _bearer(authorization: str | None) -> str:
    scheme, _, credential = (authorization or "").partition(" ")
    return credential if scheme.lower() == "bearer" else ""
