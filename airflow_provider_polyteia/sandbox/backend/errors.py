"""Business errors of the platform. How an API reports them is up to the API."""

from __future__ import annotations

from typing import Any

BAD_REQUEST = 400
FORBIDDEN = 403
NOT_FOUND = 404
CONFLICT = 409
PRECONDITION_FAILED = 412
INTERNAL = 500


class BusinessError(Exception):
    """The platform rejects a call or fails to process it.

    :param code: HTTP status that describes the error best: 400, 403, 404, 409, 412 or 500
        (docs/platform-api.md#error-codes).
    :param message: Cause of the error, for the caller.
    :param details: List of details. None (default): the platform reports no details (error body 3 of
        docs/platform-api.md#error-bodies).
    """

    def __init__(self, code: int, message: str, details: list[Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


class Unauthorized(Exception):  # noqa: N818 - the platform uses this name
    """The credentials are missing or invalid, whatever the call."""


def bad_request(message: str) -> BusinessError:
    """Return the error for an invalid or incomplete call."""
    return BusinessError(BAD_REQUEST, message, details=[])


def forbidden(message: str = "permission denied") -> BusinessError:
    """Return the error for a valid key whose account does not have permission for the call."""
    return BusinessError(FORBIDDEN, message, details=[])


def not_found(message: str = "not found") -> BusinessError:
    """Return the error for a resource that does not exist or is not visible to the caller."""
    return BusinessError(NOT_FOUND, message, details=[])


def slug_taken() -> BusinessError:
    """Return the error for a slug that is already used (docs/platform-api.md#taken-slugs)."""
    return BusinessError(CONFLICT, "slug already exists", details=[])
