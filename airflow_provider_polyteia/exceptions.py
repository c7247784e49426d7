"""Exception hierarchy of the Polyteia provider.

::

    PolyteiaError(AirflowException)
    ├── PolyteiaConfigurationError       connection or argument is unusable; nothing was changed    ✗
    ├── PolyteiaAPIError                 the platform responded with an error
    │   ├── PolyteiaBadRequestError      400                                                        ✗
    │   ├── PolyteiaAuthenticationError  401  key missing, invalid, expired or revoked              ✗
    │   ├── PolyteiaPermissionError      403  key is valid, its account lacks permission            ✗
    │   ├── PolyteiaNotFoundError        404
    │   ├── PolyteiaConflictError        409, or a slug that a lookup shows to be taken             ✗
    │   ├── PolyteiaPreconditionError    412  e.g. data-processing terms not acknowledged           ✗
    │   ├── PolyteiaRateLimitError       429
    │   └── PolyteiaServerError          5xx, also as a code inside HTTP 200
    ├── PolyteiaTransportError           no usable response: refused, reset, timed out, TLS
    ├── PolyteiaProtocolError            a response that is not Polyteia's: HTML, broken JSON, redirect
    ├── PolyteiaDataError                the data to be loaded failed a check; nothing was uploaded
    ├── PolyteiaIngestError              the platform accepted an upload, and then failed to ingest it
    └── PolyteiaOutcomeUnknownError      a request that must not be sent twice got no usable response  ✗

✗ fails the Airflow task immediately, regardless of its ``retries``: these are also `AirflowFailException`.

Code that handles these exceptions decides by type and attribute, never by text. No text contains a secret. An exception
is complete when it is raised: `extended` returns a changed copy, and `to_dict` and `from_dict` carry an exception from
one process to another.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "PolyteiaAPIError",
    "PolyteiaAuthenticationError",
    "PolyteiaBadRequestError",
    "PolyteiaConfigurationError",
    "PolyteiaConflictError",
    "PolyteiaDataError",
    "PolyteiaError",
    "PolyteiaIngestError",
    "PolyteiaNotFoundError",
    "PolyteiaOutcomeUnknownError",
    "PolyteiaPermissionError",
    "PolyteiaPreconditionError",
    "PolyteiaProtocolError",
    "PolyteiaRateLimitError",
    "PolyteiaServerError",
    "PolyteiaTransportError",
]


log = logging.getLogger(__name__)


def log_cause(error: BaseException | None) -> None:
    """Log at DEBUG what caused an exception of this provider, which is then raised ``from None``.

    In the task log, a library's traceback would hide our text, which says what happened and what to do.
    """
    if error is not None:
        log.debug("Cause of the exception that follows", exc_info=error)


class PolyteiaError(AirflowException):
    """Base class of all exceptions of this provider.

    :param text: the full sentence for the log.
    :param method: command, query, procedure or path that failed, e.g. ``create_dataset`` or ``dataset/createDataset``.
        Default: None, no call was involved.
    :param conn_id: id of the Airflow connection in use. Default: None, no connection was involved.
    :param not_applied: True if the request certainly changed nothing on the platform: it was never received, or a
        lookup confirmed that it was not applied. Default: False.
    """

    attribute_names: ClassVar[tuple[str, ...]] = ("method", "conn_id", "not_applied")

    def __init__(
        self,
        text: str = "",
        *,
        method: str | None = None,
        conn_id: str | None = None,
        not_applied: bool = False,
    ) -> None:
        super().__init__(text)
        self.method = method
        self.conn_id = conn_id
        self.not_applied = not_applied

    def extended(self, sentence: str = "", **changes: Any) -> Self:
        """Return a copy with another sentence, e.g. the number of attempts, and with changed attributes.

        The copy keeps traceback and cause.
        """
        copy = type(self)(f"{self} {sentence}".rstrip(), **{**self._attributes(), **changes})
        copy.__cause__ = self.__cause__
        return copy.with_traceback(self.__traceback__)

    def to_dict(self) -> dict[str, Any]:
        """Return the exception as plain data, for `from_dict` in another process."""
        return {"type": type(self).__name__, "text": str(self), "attributes": self._attributes()}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> PolyteiaError:
        """Return the exception that `to_dict` described; a PolyteiaError if this version does not know its type."""
        name = data["type"]
        cls: type[PolyteiaError] = globals()[name] if name in __all__ else PolyteiaError
        attributes = data.get("attributes") or {}
        return cls(data["text"], **{key: value for key, value in attributes.items() if key in cls.attribute_names})

    def _attributes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.attribute_names}


class PolyteiaConfigurationError(PolyteiaError, AirflowFailException):
    """The connection or an argument is unusable. Nothing was changed on the platform. Fails the task immediately."""


class PolyteiaAPIError(PolyteiaError):
    """The platform responded with an error.

    :param code: the platform's error code: a number (command API), or a word such as ``CONFLICT`` (RPC API); the HTTP
        status if the body contains none; None if unknown.
    :param message: the platform's own message, without secrets.
    :param details: the platform's ``details``, without secrets.
    :param http_status: status of the HTTP response; on the command API, 200 is usual for business errors
        (docs/platform-api.md#errors-inside-http-200).
    :param retry_after: seconds that the server asked to wait, or None.
    :param from_gateway: True if the response is not in the platform's form, so that a gateway may have sent it.
    :param may_be_applied: True if such a response does not prove that the request changed nothing
        (docs/platform-api.md#rpc-writes). Default: False.
    """

    attribute_names = (
        *PolyteiaError.attribute_names,
        "code",
        "message",
        "details",
        "http_status",
        "retry_after",
        "from_gateway",
        "may_be_applied",
    )

    def __init__(
        self,
        text: str = "",
        *,
        code: int | str | None = None,
        message: str = "",
        details: Sequence[Any] = (),
        http_status: int | None = None,
        retry_after: float | None = None,
        from_gateway: bool = False,
        may_be_applied: bool = False,
        method: str | None = None,
        conn_id: str | None = None,
        not_applied: bool = False,
    ) -> None:
        super().__init__(text, method=method, conn_id=conn_id, not_applied=not_applied)
        self.code = code
        self.message = message
        self.details = details
        self.http_status = http_status
        self.retry_after = retry_after
        self.from_gateway = from_gateway
        self.may_be_applied = may_be_applied

    @property
    def is_inside_success(self) -> bool:
        """True for an error inside HTTP 2xx, as the platform sends them; any other status may be a gateway's."""
        return self.http_status is not None and self.http_status < 300  # noqa: PLR2004 - HTTP 2xx

    @property
    def is_ambiguous(self) -> bool:
        """True for an error inside HTTP 2xx whose code, if any, does not say that the request was at fault."""
        return self.is_inside_success and not (isinstance(self.code, int) and 400 <= self.code < 500)  # noqa: PLR2004 - 4xx


class PolyteiaBadRequestError(PolyteiaAPIError, AirflowFailException):
    """400: the platform rejects the request as malformed. Fails the task immediately."""


class PolyteiaAuthenticationError(PolyteiaAPIError, AirflowFailException):
    """401: the key is missing, invalid, expired or revoked. Fails the task immediately."""


class PolyteiaPermissionError(PolyteiaAPIError, AirflowFailException):
    """403: the key is valid, but its account does not have permission. Fails the task immediately."""


class PolyteiaNotFoundError(PolyteiaAPIError):
    """404: the resource does not exist, or is not visible to this key.

    If ``from_gateway`` is True, it says nothing about the resource: the host or the name of a procedure may be wrong.
    """


class PolyteiaConflictError(PolyteiaAPIError, AirflowFailException):
    """409, or a slug that a lookup shows to be taken. Fails the task immediately."""


class PolyteiaPreconditionError(PolyteiaAPIError, AirflowFailException):
    """412: a condition outside of the request is not met. Fails the task immediately.

    The known case: the account of the key must acknowledge the data-processing terms of the solution in Polyteia
    (docs/platform-api.md#rpc-terms).
    """


class PolyteiaRateLimitError(PolyteiaAPIError):
    """429: too many requests. ``retry_after`` holds the seconds that the server asked to wait, or None."""


class PolyteiaServerError(PolyteiaAPIError):
    """5xx, as HTTP status or, on the command API, as a code inside HTTP 200."""


class PolyteiaTransportError(PolyteiaError):
    """No usable response was received: refused, reset, timed out, TLS failure.

    ``not_applied`` is True if no connection was established.
    """


class PolyteiaProtocolError(PolyteiaError):
    """A response was received that is not Polyteia's: HTML, broken JSON, a redirect, missing data, or too much of it.

    :param http_status: status of the HTTP response; None if unknown.
    :param is_permanent: True if a retry would receive the same, such as a response beyond the limit of the connection.
        Default: False.
    """

    attribute_names = (*PolyteiaError.attribute_names, "http_status", "is_permanent")

    def __init__(
        self,
        text: str = "",
        *,
        http_status: int | None = None,
        is_permanent: bool = False,
        method: str | None = None,
        conn_id: str | None = None,
        not_applied: bool = False,
    ) -> None:
        super().__init__(text, method=method, conn_id=conn_id, not_applied=not_applied)
        self.http_status = http_status
        self.is_permanent = is_permanent


class PolyteiaDataError(PolyteiaError):
    """The data to be loaded failed a check. Nothing was uploaded, and the dataset keeps its data."""


class PolyteiaIngestError(PolyteiaError):
    """The platform accepted an upload, and then failed to ingest it (RPC API).

    Whether the dataset still holds its previous data is unknown (docs/platform-api.md#rpc-ingests).

    :param dataset_id: id of the dataset.
    :param ingest_id: id of the ingest.
    :param message: the platform's own message, without secrets; empty if it sent none.
    """

    attribute_names = (*PolyteiaError.attribute_names, "dataset_id", "ingest_id", "message")

    def __init__(
        self,
        text: str = "",
        *,
        dataset_id: str = "",
        ingest_id: str = "",
        message: str = "",
        method: str | None = None,
        conn_id: str | None = None,
        not_applied: bool = False,
    ) -> None:
        super().__init__(text, method=method, conn_id=conn_id, not_applied=not_applied)
        self.dataset_id = dataset_id
        self.ingest_id = ingest_id
        self.message = message


class PolyteiaOutcomeUnknownError(PolyteiaError, AirflowFailException):
    """It is unknown whether a request was applied, and it must not be sent again. Fails the task immediately.

    Either a write that is not idempotent received no usable response, or an upload was accepted and it is unknown
    whether it was ingested.

    :param identifiers: the ids, slugs and names among the request's parameters, to look for in Polyteia. For an upload:
        ``id`` of the dataset and ``ingestId``, which is empty if it is only in the log.
    """

    attribute_names = (*PolyteiaError.attribute_names, "identifiers")

    def __init__(
        self,
        text: str = "",
        *,
        identifiers: Mapping[str, Any] | None = None,
        method: str | None = None,
        conn_id: str | None = None,
        not_applied: bool = False,
    ) -> None:
        super().__init__(text, method=method, conn_id=conn_id, not_applied=not_applied)
        self.identifiers = dict(identifiers or {})
