"""Description of an HTTP API, with which `app` serves it. Each API package provides one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_polyteia.sandbox.backend.errors import BAD_REQUEST, INTERNAL
from airflow_provider_polyteia.sandbox.backend.platform import Platform, Session

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.backend.errors import BusinessError

Endpoint = Callable[[Platform, Request], Awaitable[Response]]
"""Serves one request. Raises `BusinessError` or `Unauthorized` for calls that fail."""


class ErrorResponse(Protocol):
    """Builds the response for a business error."""

    def __call__(self, error: BusinessError, status: int | None = None) -> Response:
        """Return the response.

        :param status: HTTP status. Default: the status that the API uses for this error.
        """


@dataclass(frozen=True)
class ErrorResponses:
    """The form in which an API, or some paths of it, report errors.

    :param business: Returns the response for a business error.
    :param unauthorized: Returns the response for missing or invalid credentials.
    """

    business: ErrorResponse
    unauthorized: Callable[[], Response]


@dataclass(frozen=True)
class ApiRoute:
    """One path of an API.

    :param http_method: HTTP method that the endpoint serves. None: the endpoint serves every method.
    :param streamed: Whether the endpoint reads the body while it is received. Default: the body is read and recorded
        first.
    :param errors: Form of errors of this path. Default: that of the API.
    """

    path: str
    http_method: str | None
    endpoint: Endpoint
    streamed: bool = False
    errors: ErrorResponses | None = None


@dataclass(frozen=True)
class CallNames:
    """Names under which faults, the recorder and the log refer to the calls of an API.

    :param known: Names of all calls.
    :param uploads: Names of the calls that receive a file.
    :param downloads: Names of the calls that send a file.
    :param ingests: Names of the uploads that start an ingest, whose status can be queried.
    """

    known: frozenset[str]
    uploads: tuple[str, ...] = ()
    downloads: tuple[str, ...] = ()
    ingests: tuple[str, ...] = ()


class DirectCall(Protocol):
    """Runs a call by its name without HTTP."""

    async def __call__(self, session: Session, name: str, params: dict[str, Any]) -> Any:
        """Return the result of the call.

        :raises KeyError: if the API does not have a call with this name.
        :raises BusinessError: if the call is invalid or fails.
        """


@dataclass(frozen=True)
class Api:
    """One HTTP API of the platform.

    :param routes: Paths that the API serves. If several match a request, the first one serves it.
    :param calls: Names of its calls.
    :param call_name: Returns the name of a call, given its path and decoded JSON body, or an empty string for a path
        that the API does not serve. Names that are not in `calls` are recorded, but not logged.
    :param call_params: Returns the parameters of a call, given its decoded JSON body.
    :param errors: Form of errors.
    :param unknown_path: Responds to paths and HTTP methods that the API does not serve.
    :param call: Runs a call without HTTP.
    """

    routes: tuple[ApiRoute, ...]
    calls: CallNames
    call_name: Callable[[str, Any], str]
    call_params: Callable[[Any], dict[str, Any]]
    errors: ErrorResponses
    unknown_path: Endpoint
    call: DirectCall


def http_status(code: int) -> int:
    """Return the HTTP status of an error. Codes that are not an error's status become 500."""
    return code if BAD_REQUEST <= code < 600 else INTERNAL  # noqa: PLR2004 - end of 5xx


def ingest_fault(request: Request) -> str:
    """Return the kind of the fault to apply to the ingest of an upload, or an empty string."""
    return str(getattr(request.state, "ingest_fault", ""))


def bearer_credential(request: Request) -> str:
    """Return the bearer token of a request, or an empty string if it has none."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    return credential if scheme.lower() == "bearer" else ""


def decode_json(body: bytes) -> Any:
    """Return the decoded JSON of a body, or None if it is not valid JSON."""
    try:
        return json.loads(body)
    except ValueError:
        return None
