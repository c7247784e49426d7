"""The forms of errors: of procedures, of the REST paths, and of the object storage."""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from airflow_provider_polyteia.sandbox.api import ErrorResponses, http_status
from airflow_provider_polyteia.sandbox.backend.errors import PRECONDITION_FAILED, BusinessError

if TYPE_CHECKING:
    from collections.abc import Iterable

METHOD_NOT_SUPPORTED = 405
LENGTH_REQUIRED = 411
_BAD_REQUEST = 400
_UNAUTHORIZED = 401
_FORBIDDEN = 403

_WORDS = {
    METHOD_NOT_SUPPORTED: "METHOD_NOT_SUPPORTED",
    408: "TIMEOUT",
    413: "PAYLOAD_TOO_LARGE",
    422: "UNPROCESSABLE_CONTENT",
    499: "CLIENT_CLOSED_REQUEST",
}
"""Codes that differ from the name of their HTTP status (docs/platform-api.md#rpc-errors)."""

_REST_CODES = {
    _BAD_REQUEST: "request.invalid",
    _UNAUTHORIZED: "auth.unauthorized",
    _FORBIDDEN: "auth.forbidden",
    404: "resource.not-found",
    LENGTH_REQUIRED: "request.length-required",
    PRECONDITION_FAILED: "dpa.not-acknowledged",
}
"""Codes of the REST paths. Only the last one is known (docs/platform-api.md#rpc-rest-errors)."""


def invalid_input(issues: Iterable[dict[str, Any]]) -> BusinessError:
    """Return the error for an input that does not fit the procedure.

    :param issues: What is invalid, each with `path` and `message`.
    """
    return BusinessError(_BAD_REQUEST, "Input validation failed", details=list(issues))


def issue(path: str, message: str) -> dict[str, Any]:
    """Return what is invalid about one key of an input, or about the input itself (empty path)."""
    return {"code": "custom", "path": [path] if path else [], "message": message}


def terms_not_acknowledged() -> BusinessError:
    """Return the error for an upload whose data processing terms are not acknowledged."""
    return BusinessError(PRECONDITION_FAILED, "Data processing terms not acknowledged")


def procedure_errors(dialect: int, unauthorized: str = "Unauthorized") -> ErrorResponses:
    """Return the form of errors of procedures (docs/platform-api.md#rpc-errors).

    :param unauthorized: Message for missing or invalid credentials.
    """

    def business(error: BusinessError, status: int | None = None) -> Response:
        return _error(dialect, http_status(status or error.code), error.message, error.details)

    return ErrorResponses(business, lambda: _error(dialect, _UNAUTHORIZED, unauthorized, None))


def _error(dialect: int, status: int, message: str, issues: list[Any] | None) -> Response:
    word = _WORDS.get(status) or _status_name(status)
    error: dict[str, Any] = {"defined": False, "code": word}
    error |= {"status": status} if dialect == 1 else {"inferable": False}
    error["message"] = message
    if issues:
        error["data"] = {"issues": issues}
    return JSONResponse({"json": error}, status_code=status)


def _status_name(status: int) -> str:
    try:
        return HTTPStatus(status).name
    except ValueError:
        return f"HTTP_{status}"


def _rest_error(error: BusinessError, status: int | None = None) -> Response:
    status = http_status(status or error.code)
    body = {"error": error.message, "code": _REST_CODES.get(status, "internal.error")}
    return JSONResponse(body, status_code=status)


REST_ERRORS = ErrorResponses(_rest_error, lambda: _rest_error(BusinessError(_UNAUTHORIZED, "Unauthorized")))
"""The form of errors of `/api/upload/...` and `/api/query`."""


def _storage_error(error: BusinessError, status: int | None = None) -> Response:
    status = http_status(status or error.code)
    code = {_BAD_REQUEST: "InvalidArgument", _FORBIDDEN: "AccessDenied"}.get(status, "InternalError")
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{escape(error.message, quote=False)}</Message></Error>"
    )
    return Response(body, status_code=status, media_type="application/xml")


STORAGE_ERRORS = ErrorResponses(_storage_error, lambda: _storage_error(BusinessError(_FORBIDDEN, "Access denied")))
"""The form of errors of presigned URLs: XML, as usual for object storages."""
