"""Finds out whether a host serves the RPC API, with one request that changes nothing and carries no key.

An exchange without a key is rejected by the RPC API in its own form. Nothing else responds in that form
(docs/platform-api.md#two-apis).
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client import errors
from airflow_provider_polyteia.client.json_values import parse_json
from airflow_provider_polyteia.client.rpc_api.procedures import EXCHANGE
from airflow_provider_polyteia.client.rpc_api.protocol import RPC_PATH, json_request
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.operation import Flow, Response

PROBE = "detection of the API"

NEGATIVE_LIFETIME = 300.0

_hosts_with_rpc_api: set[str] = set()
"""Base URLs that were found to serve the RPC API."""
_hosts_without: dict[str, float] = {}
"""Base URLs that most likely serve the command API, and until when that is taken for true: it is only probable."""


def serves_rpc_api(credentials: Credentials) -> Flow[bool]:
    """Return True if the connection's host serves the RPC API, False if it most likely serves the command API.

    :raises PolyteiaError: if neither can be concluded, with the extra that decides.
    """
    base_url = credentials.config.base_url
    if base_url in _hosts_with_rpc_api:
        return True
    if time.monotonic() < _hosts_without.get(base_url, 0.0):
        return False
    try:
        response = yield json_request(RPC_PATH + EXCHANGE.name, PROBE, {"json": {}}, coalesce=True)
        is_rpc = _read(response, credentials)
    except PolyteiaError as error:
        raise error.extended(_advice(credentials), not_applied=True) from error.__cause__
    if is_rpc:
        _hosts_with_rpc_api.add(base_url)
    else:
        _hosts_without[base_url] = time.monotonic() + NEGATIVE_LIFETIME
    return is_rpc


def _read(response: Response, credentials: Credentials) -> bool:
    body = parse_json(response.body)
    fields = body.get("json") if isinstance(body, dict) else None
    if isinstance(fields, dict) and isinstance(fields.get("code"), str):
        return True
    if _is_outage(response):
        raise _undecided(response, credentials)  # also in JSON, because a gateway may write it like the command API
    is_command_api = isinstance(body, dict) and (body.keys() & {"data", "error"} or {"code", "message"} <= body.keys())
    is_unknown_path = response.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
    if is_command_api or is_unknown_path or (response.is_success and response.is_html):
        return False
    raise _undecided(response, credentials)


def _is_outage(response: Response) -> bool:
    """Return True for a status that says nothing about the host's API: of a proxy, a gateway or an overload."""
    passing = (HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, HTTPStatus.TOO_MANY_REQUESTS)
    return response.is_redirect or response.status in passing or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _undecided(response: Response, credentials: Credentials) -> PolyteiaError:
    """Return the exception for a response of a proxy or gateway, or of a platform that is out of order."""
    status: Any = response.status
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return errors.api_error(response, credentials, PROBE, response.body.decode(errors="replace"), from_gateway=True)
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return errors.proxy_authentication_required(PROBE, credentials.config)
    kind = "a redirect, which is never followed" if response.is_redirect else "neither API's response"
    unexpected = errors.unexpected_response(response, credentials, PROBE, kind)
    return PolyteiaConfigurationError(str(unexpected), method=PROBE, conn_id=credentials.config.conn_id)


def _advice(credentials: Credentials) -> str:
    return (
        f"So it is not known which API {credentials.config.base_url} serves; the extra 'api' of connection "
        f"{credentials.config.conn_id!r} ('command' or 'rpc') makes this request unnecessary."
    )
