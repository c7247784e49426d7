"""Callers and their permissions: keys, access tokens, and tokens for uploads and exports."""

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
    """The permissions of a key or access token.

    :param read_only: Whether calls that write are rejected.
    :param denied_solutions: Ids of the solutions to which access is denied, including their content.
    :param organization_id: Organization for which an access token is valid. Default: all organizations (a key).
    """

    read_only: bool = False
    denied_solutions: frozenset[str] = frozenset()
    organization_id: str | None = None

    def has_in_scope(self, record: Record) -> bool:
        """Return True if the record belongs to an organization for which the credential is valid."""
        return self.organization_id in (None, record["id"], record.get("organization_id"))

    def may(self, permission: str) -> bool:
        """Return True if the key grants a permission. A read-only key grants those to view, `can_view_...`."""
        return not self.read_only or permission.startswith("can_view")

    def is_denied(self, record: Record) -> bool:
        """Return True if the record is one of the denied solutions or is contained in one."""
        return record["id"] in self.denied_solutions or record.get("solution_id") in self.denied_solutions


@dataclass(frozen=True)
class _Token:
    """What a token stands for, and when it expires (seconds on the monotonic clock, or None)."""

    content: Any
    expires: float | None = None


@dataclass
class TokenStore:
    """Issued tokens, in memory only. They are random and never shown."""

    _tokens: dict[str, _Token] = field(default_factory=dict, repr=False)

    def issue(self, content: Any, lifetime: float | None = None) -> str:
        """Return a new token.

        :param content: Object that the token stands for.
        :param lifetime: Time in seconds until the token expires. Default: it does not expire.
        """
        token = secrets.token_urlsafe(32)
        expires = None if lifetime is None else time.monotonic() + lifetime
        self._tokens[token] = _Token(content, expires)
        return token

    def peek(self, token: str) -> Any:
        """Return what the token stands for, or None if it is unknown or expired."""
        known = self._tokens.get(token)
        if known is None or (known.expires is not None and time.monotonic() >= known.expires):
            return None
        return known.content

    def consume(self, token: str) -> Any:
        """Return the same as `peek`, and invalidate the token."""
        content = self.peek(token)
        self._tokens.pop(token, None)
        return content


class Access:
    """The keys of a sandbox and the access tokens for which they were exchanged."""

    def __init__(self, options: Options) -> None:
        self._callers = {key: Caller() for key in options.paks}
        self._callers |= {key: Caller(read_only=True) for key in options.read_only_paks}
        for key, solutions in options.denied_solutions.items():
            known = self._callers.get(key, Caller())
            self._callers[key] = replace(known, denied_solutions=frozenset(solutions))
        self._tokens = TokenStore()
        self._token_lifetime = options.token_lifetime

    def caller(self, credential: str) -> Caller:
        """Return the caller who owns a key or access token.

        :raises Unauthorized: if the credential is empty, invalid or expired.
        """
        caller = self._callers.get(credential) or self._tokens.peek(credential)
        if not isinstance(caller, Caller):
            raise Unauthorized
        return caller

    def key_holder(self, credential: str) -> Caller:
        """Return the caller who owns a key. An access token is not accepted.

        :raises Unauthorized: if the key is empty or invalid.
        """
        caller = self._callers.get(credential)
        if caller is None:
            raise Unauthorized
        return caller

    def session(self, token: str) -> Caller:
        """Return the caller for whom a token was issued. A key is not accepted.

        :raises Unauthorized: if the token is empty, invalid or expired.
        """
        caller = self._tokens.peek(token)
        if not isinstance(caller, Caller):
            raise Unauthorized
        return caller

    def exchange(self, caller: Caller, organization_id: str | None) -> str:
        """Return an access token with the caller's permissions in one organization.

        See docs/platform-api.md#token-exchange.

        :param organization_id: None: the token is not limited to an organization.
        """
        scoped = replace(caller, organization_id=organization_id)
        return self._tokens.issue(scoped, self._token_lifetime)

    def revoke(self, key: str) -> None:
        """Invalidate a key immediately, like deleting it in the web interface.

        See docs/platform-api.md#personal-access-keys.
        """
        self._callers.pop(key, None)
