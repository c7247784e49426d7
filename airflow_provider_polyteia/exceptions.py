"""Everything that can go wrong with Polyteia, as one tree of errors.

::

    PolyteiaError(AirflowException)
    ├── PolyteiaConfigurationError       connection or argument is unusable; nothing was sent       ✗
    ├── PolyteiaAPIError                 the platform answered with an error
    │   ├── PolyteiaBadRequestError      400                                                        ✗
    │   ├── PolyteiaAuthenticationError  401  key missing, wrong, expired or revoked                ✗
    │   ├── PolyteiaPermissionError      403  key is valid, its account may not do this             ✗
    │   ├── PolyteiaNotFoundError        404
    │   ├── PolyteiaConflictError        409, or a slug shown by a look-up to be taken              ✗
    │   ├── PolyteiaRateLimitError       429
    │   └── PolyteiaServerError          5xx, also as a code inside HTTP 200
    ├── PolyteiaTransportError           no usable answer: refused, reset, timed out, TLS
    ├── PolyteiaProtocolError            an answer that is not Polyteia's: HTML, broken JSON, redirect
    └── PolyteiaOutcomeUnknownError      a write that must not be repeated got no usable answer     ✗

✗ fails the Airflow task at once, whatever its ``retries``: these are `AirflowFailException` too.

Code that handles these errors decides by type and attribute, never by text. No text holds a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "PolyteiaAPIError",
    "PolyteiaAuthenticationError",
    "PolyteiaBadRequestError",
    "PolyteiaConfigurationError",
    "PolyteiaConflictError",
    "PolyteiaError",
    "PolyteiaNotFoundError",
    "PolyteiaOutcomeUnknownError",
    "PolyteiaPermissionError",
    "PolyteiaProtocolError",
    "PolyteiaRateLimitError",
    "PolyteiaServerError",
    "PolyteiaTransportError",
]


class PolyteiaError(AirflowException):
    """Root of all errors of this provider.

    :param text: the full sentence for the log.
    :param method: command, query or path that failed, e.g. ``create_dataset``; None before any call.
    :param conn_id: the Airflow connection in use; None where there is none.
    :param no_effect: True when it is certain that the call changed nothing on the platform: it never got there, or a
        look-up showed that it was not carried out.
    """

    def __init__(
        self,
        text: str = "",
        *,
        method: str | None = None,
        conn_id: str | None = None,
        no_effect: bool = False,
    ) -> None:
        super().__init__(text)
        self.method = method
        self.conn_id = conn_id
        self.no_effect = no_effect

    def add_text(self, sentence: str) -> None:
        """Append a sentence that only the caller knows, e.g. how often the call was tried."""
        self.args = (f"{self} {sentence}", *self.args[1:])


class PolyteiaConfigurationError(PolyteiaError, AirflowFailException):
    """The connection or an argument is unusable. Nothing was sent. Fails the task at once."""


class PolyteiaAPIError(PolyteiaError):
    """The platform answered with an error.

    :param code: the platform's error code; the HTTP status where the body held none; None if unknown.
    :param message: the platform's own words, secrets removed.
    :param details: the platform's ``details`` as sent, secrets removed.
    :param http_status: status of the HTTP answer; 200 is usual for business errors (API reference 3.1).
    :param retry_after: seconds the server asked to wait, or None.

    ``is_foreign`` is True if the answer was not in the platform's form, so that a gateway may have given it.
    """

    def __init__(
        self,
        text: str = "",
        *,
        code: int | None = None,
        message: str = "",
        details: Sequence[Any] = (),
        http_status: int | None = None,
        retry_after: float | None = None,
        method: str | None = None,
        conn_id: str | None = None,
        no_effect: bool = False,
    ) -> None:
        super().__init__(text, method=method, conn_id=conn_id, no_effect=no_effect)
        self.code = code
        self.message = message
        self.details = details
        self.http_status = http_status
        self.retry_after = retry_after
        self.is_foreign = False

    @property
    def is_unclear(self) -> bool:
        """True for an error inside HTTP 2xx whose code, if there is one, does not say that the request was wrong."""
        inside_success = self.http_status is not None and self.http_status < 300  # noqa: PLR2004 - HTTP 2xx
        return inside_success and not (self.code is not None and 400 <= self.code < 500)  # noqa: PLR2004 - refusals


class PolyteiaBadRequestError(PolyteiaAPIError, AirflowFailException):
    """400: the platform refuses the request as malformed. Fails the task at once."""


class PolyteiaAuthenticationError(PolyteiaAPIError, AirflowFailException):
    """401: the key is missing, wrong, expired or revoked. Fails the task at once."""


class PolyteiaPermissionError(PolyteiaAPIError, AirflowFailException):
    """403: the key is valid, its account may not do this. Fails the task at once."""


class PolyteiaNotFoundError(PolyteiaAPIError):
    """404: there is no such resource, or it is not visible to this key."""


class PolyteiaConflictError(PolyteiaAPIError, AirflowFailException):
    """409, or a slug that a look-up shows to be taken. Fails the task at once."""


class PolyteiaRateLimitError(PolyteiaAPIError):
    """429: too many requests. ``retry_after`` holds the seconds the server asked to wait, or None."""


class PolyteiaServerError(PolyteiaAPIError):
    """5xx, as HTTP status or as a code inside HTTP 200."""


class PolyteiaTransportError(PolyteiaError):
    """No usable answer came: refused, reset, timed out, TLS broken off.

    ``no_effect`` is True when not even a connection was established.
    """


class PolyteiaProtocolError(PolyteiaError):
    """An answer came that is not Polyteia's: HTML, broken JSON, a redirect, missing data.

    :param http_status: status of the HTTP answer.
    """

    def __init__(
        self,
        text: str = "",
        *,
        http_status: int | None = None,
        method: str | None = None,
        conn_id: str | None = None,
        no_effect: bool = False,
    ) -> None:
        super().__init__(text, method=method, conn_id=conn_id, no_effect=no_effect)
        self.http_status = http_status


class PolyteiaOutcomeUnknownError(PolyteiaError, AirflowFailException):
    """A write that must not be repeated got no usable answer: it may have happened. Fails the task at once.

    :param identity: the ids, slugs and names among the call's parameters, to find out with.
    """

    def __init__(
        self,
        text: str = "",
        *,
        identity: Mapping[str, Any] | None = None,
        method: str | None = None,
        conn_id: str | None = None,
    ) -> None:
        super().__init__(text, method=method, conn_id=conn_id)
        self.identity = dict(identity or {})
