"""Description of an HTTP API, with which `app` serves it. Each API package provides one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_polyteia.sandbox.backend.platform import Platform

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
class ApiRoute:
    """One path of an API.

    :param streamed: Whether the endpoint reads the body while it is received. Default: the body is read and recorded
        first.
    """

    path: str
    http_method: str
    endpoint: Endpoint
    streamed: bool = False


@dataclass(frozen=True)
class CallNames:
    """Names under which faults, the recorder and the log refer to the calls of an API.

    :param known: Names of all calls.
    :param uploads: Names of the calls that receive a file.
    :param downloads: Names of the calls that send a file.
    """

    known: frozenset[str]
    uploads: tuple[str, ...] = ()
    downloads: tuple[str, ...] = ()

    def __or__(self, other: CallNames) -> CallNames:
        return CallNames(self.known | other.known, self.uploads + other.uploads, self.downloads + other.downloads)


@dataclass(frozen=True)
class Api:
    """One HTTP API of the platform.

    :param routes: Paths that the API serves.
    :param calls: Names of its calls.
    :param call_name: Returns the name of a call, given its path and decoded JSON body, or an empty string for a path
        that the API does not serve. Names that are not in `calls` are recorded, but not logged.
    :param error_response: Returns the response for a business error.
    :param unauthorized_response: Returns the response for missing or invalid credentials.
    """

    routes: tuple[ApiRoute, ...]
    calls: CallNames
    call_name: Callable[[str, Any], str]
    error_response: ErrorResponse
    unauthorized_response: Callable[[], Response]


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
