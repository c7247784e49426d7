"""Runs SQL: the platform returns the result as an Arrow stream, which is written to a file here, batch by batch.

The stream is stored in an unnamed temporary file first. It is only converted once it is known to be complete, so that
a file is never made from a part of a result.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client import errors
from airflow_provider_polyteia.client.file_sink import Destination, FileSink
from airflow_provider_polyteia.client.file_transfers import check_file, idle_timeout, not_the_file
from airflow_provider_polyteia.client.json_values import NotJSONError, check_json
from airflow_provider_polyteia.client.operation import Flow, Idempotency, Operation, Response
from airflow_provider_polyteia.client.rpc_api import arrow
from airflow_provider_polyteia.client.rpc_api.protocol import (
    OTHER_API,
    call_flow,
    json_request,
    make_call,
    raise_for_status,
    session_flow,
)
from airflow_provider_polyteia.client.sql_references import with_bare_ids
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.sql_references import Query

QUERY_PATH = "/api/query"


def execute(credentials: Credentials, query: Query, *, idempotent: bool) -> Operation[Any]:
    """Return the operation that runs a statement, and returns columns and rows as JSON."""
    _check(query)

    def read(response: Response) -> dict[str, Any]:
        _check_status(credentials, response)
        if response.body[:4] != arrow.CONTINUATION:
            raise _not_arrow(response, credentials)
        if not (response.is_delimited or response.body.endswith(arrow.END)):
            raise errors.incomplete_response(credentials, QUERY_PATH, "the Arrow stream has no end")
        return arrow.to_json(response.body, credentials, QUERY_PATH)

    def start() -> Flow[dict[str, Any]]:
        result: dict[str, Any] = yield from _query_flow(credentials, query, read)
        return result

    idempotency = Idempotency.SAFE if idempotent else Idempotency.NONE
    return Operation(QUERY_PATH, start, idempotency, {"datasets": ", ".join(query.dataset_ids)})


def export(
    credentials: Credentials,
    query: Query,
    destination: Destination,
    timeout: float | None,
) -> Operation[int]:
    """Return the operation that writes the result of a query to a file, and returns its size in bytes.

    :raises PolyteiaConfigurationError: if the format cannot be written, or pyarrow is not installed.
    """
    _check(query)
    write = arrow.writer(destination.content_type, destination.name)
    seconds = idle_timeout(credentials, timeout)

    def start() -> Flow[int]:
        with ExitStack() as stack:
            stream = stack.enter_context(tempfile.TemporaryFile())
            name = f"a temporary file in {tempfile.gettempdir()}"
            sink = FileSink(stream, arrow.CONTENT_TYPE, name, arrow.StreamEnd)
            file = stack.enter_context(destination.open())

            def read(response: Response) -> None:
                _check_stream(credentials, sink, response)

            yield from _query_flow(credentials, query, read, sink, seconds)
            stream.seek(0)
            return write(stream, file, credentials, QUERY_PATH)

    return Operation(QUERY_PATH, start, Idempotency.SAFE, {"name": destination.name}, is_transfer=True)


def _check(query: Query) -> None:
    arrow.require_pyarrow()
    if not query.dataset_ids:
        raise PolyteiaConfigurationError(
            "The RPC API runs SQL within a solution, which is looked up from a dataset. Specify at least one dataset."
        )
    try:
        check_json(query.args, "args")
        check_json(query.named_args, "named_args")
    except NotJSONError as error:
        raise PolyteiaConfigurationError(f"The SQL statement cannot be sent: {error}.") from None


def _query_flow(
    credentials: Credentials,
    query: Query,
    read: Callable[[Response], Any],
    sink: FileSink | None = None,
    seconds: float | None = None,
) -> Flow[Any]:
    """Look the solution up, and send the query (docs/platform-api.md#rpc-sql)."""
    lookup = make_call("dataset/getDatasetById", {"id": query.dataset_ids[0]}, required_field="solutionId")
    try:
        solution_id = (yield from call_flow(lookup, credentials)).data["solutionId"]
    except PolyteiaError as error:  # the statement itself was not sent
        raise error.extended(not_applied=True) from error.__cause__
    body: dict[str, Any] = {"query": with_bare_ids(query.statement), "solution_id": solution_id}
    body |= {"args": list(query.args)} if query.args else {}
    body |= {"named_args": dict(query.named_args)} if query.named_args else {}
    request = json_request(QUERY_PATH, QUERY_PATH, body)
    headers = {**request.headers, "Accept": "*/*", "Accept-Encoding": "identity"}
    prepared = replace(request, headers=headers, sink=sink, idle_timeout=seconds)
    return (yield from session_flow(credentials, lambda _: prepared, read))


def _check_status(credentials: Credentials, response: Response) -> None:
    """Check that a response has all of a result, and not a part of it (HTTP 206)."""
    raise_for_status(response, credentials, QUERY_PATH)
    if response.status != HTTPStatus.OK:
        raise not_the_file(response, credentials, QUERY_PATH)


def _check_stream(credentials: Credentials, sink: FileSink, response: Response) -> None:
    """Check that a stream arrived, and that it is complete."""
    if not sink.accepted:
        _check_status(credentials, response)
        raise _not_arrow(response, credentials)
    if sink.head[:4] != arrow.CONTINUATION:
        raise _not_arrow(replace(response, body=sink.head), credentials)
    check_file(response, sink, credentials, QUERY_PATH)
    sink.release()


def _not_arrow(response: Response, credentials: Credentials) -> Exception:
    kind = "an HTML page" if response.is_html else "content that is not an Arrow stream"
    return errors.unexpected_response(response, credentials, QUERY_PATH, kind, other_api=OTHER_API)
