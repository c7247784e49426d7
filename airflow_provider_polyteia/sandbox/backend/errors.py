"""How the platform says no (API reference 3)."""

from __future__ import annotations

from typing import Any

BAD_REQUEST = 400
FORBIDDEN = 403
NOT_FOUND = 404
INTERNAL = 500


class ApiError(Exception):
    """A business error: answered with HTTP 200 and an `error` object.

    :param code: 400, 403, 404 or 500 (API reference 3.3).
    :param message: what is wrong, for the caller.
    :param details: the `details` array, or None to leave the key out (body 3 of API reference 3.2 has none).
    """

    def __init__(self, code: int, message: str, details: list[Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def body(self) -> dict[str, Any]:
        """The JSON body of the answer."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details is not None:
            error["details"] = self.details
        return {"error": error}


class Unauthorized(Exception):  # noqa: N818 - named as the platform names it
    """Missing or wrong credentials: answered with HTTP 401 whatever was asked."""


def bad_request(message: str) -> ApiError:
    """The request is malformed or lacks something."""
    return ApiError(BAD_REQUEST, message, details=[])


def forbidden(message: str = "permission denied") -> ApiError:
    """The key is valid, its account may not do this."""
    return ApiError(FORBIDDEN, message, details=[])


def not_found(message: str = "not found") -> ApiError:
    """There is no such resource, or the caller cannot see it."""
    return ApiError(NOT_FOUND, message, details=[])


def slug_taken() -> ApiError:
    """What the platform was seen to answer when a slug exists already (API reference 3.2, body 3)."""
    return ApiError(INTERNAL, "internal error")
