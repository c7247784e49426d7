"""Export the result of a query into a file (API reference 8): a fresh token and the whole file, in each attempt.

A file counts as complete only if the type of its content, its length and, for Parquet, both of its ends are right.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_polyteia.client import problems, transfer
from airflow_provider_polyteia.client.calls import make_call
from airflow_provider_polyteia.client.formats import JSON, PARQUET, PARQUET_MAGIC, media_type
from airflow_provider_polyteia.client.progress import Progress, size_of
from airflow_provider_polyteia.client.protocol import Request, authorised, check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from airflow_provider_polyteia.client.protocol import Identity, Response
    from airflow_provider_polyteia.client.sync import PolyteiaClient

log = logging.getLogger(__name__)

PATH = "/download"
_LARGEST_JSON_ERROR = 64 * 1024


class _HideTokens(logging.Filter):
    """Takes the query off the paths that urllib3 writes to its log at level DEBUG: the token is in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_without_query(value) for value in record.args)
        return True


def _without_query(value: Any) -> Any:
    return f"{PATH}?***" if isinstance(value, str) and f"{PATH}?" in value else value


logging.getLogger("urllib3.connectionpool").addFilter(_HideTokens())


def export(
    client: PolyteiaClient,
    params: Mapping[str, Any],
    begin: Callable[[], AbstractContextManager[IO[bytes]]],
    name: str,
    *,
    timeout: float | None = None,
) -> int:
    """Write the result of a query into a file, and return its size in bytes.

    :param params: of ``generate_query_export_token``.
    :param begin: opens a new temporary file for an attempt, keeps it if the attempt succeeds, and else removes it.
    :param name: what the log calls the file.
    :param timeout: seconds without a byte that end an attempt; None (default): 300, or the connection's timeout if
        that is longer.
    :raises PolyteiaError: then there is no file.
    """
    token_call = make_call("command", "generate_query_export_token", params, needs="token")
    silence = transfer.patience(client, timeout)

    def attempt() -> int:
        with begin() as file:

            def fetch(token: str) -> int:
                sink = FileSink(file, params["format"], name, client.identity)
                return _fetch(client, token, sink, silence)

            return transfer.with_token(client, token_call, fetch)

    begun = client.clock()
    size = transfer.repeat(client, PATH, {"name": name}, attempt)
    log.info("Exported %s to %r in %.1f s", size_of(size), name, client.clock() - begun)
    return size


def _fetch(client: PolyteiaClient, token: str, sink: FileSink, silence: float) -> int:
    client.identity.learn(quote(token, safe=""))  # as it stands in the URL
    # If it was compressed for the way only, its length would say nothing about the file's.
    headers = {"Accept-Encoding": "identity"}
    request = Request("GET", PATH, PATH, headers, query={"token": token}, sink=sink, timeout=silence)
    return client.run(authorised(client.identity, request, sink.verify))


class FileSink:
    """Writes the body of a download to a file, and tells whether it is the file that was asked for.

    :param content_type: the format that was asked for.
    :param name: what the log calls the file.
    """

    def __init__(self, file: IO[bytes], content_type: str, name: str, identity: Identity) -> None:
        self._file = file
        self._content_type = media_type(content_type)
        self._name = name
        self._identity = identity
        self._is_taken = False
        self._held = b""
        self._is_held = False
        self._progress = Progress("", None)
        self._received = 0
        self._begin = self._end = b""

    def wants(self, head: Response) -> bool:
        """Take what may be the file; leave errors and web pages.

        The beginning of JSON is held back until it is no error for certain: another try writes into the same file.
        """
        self._begin = self._end = self._held = b""
        self._is_held = head.is_json
        self._is_taken = head.is_success and not head.is_html and (not head.is_json or self._content_type == JSON)
        self._progress = Progress(f"Exporting to {self._name!r}", _length(head))
        return self._is_taken

    def write(self, chunk: bytes) -> None:
        """Write the next part.

        :raises PolyteiaError: if it cannot be written, e.g. because the disk is full.
        """
        if len(self._begin) < _LARGEST_JSON_ERROR:
            self._begin = (self._begin + chunk)[:_LARGEST_JSON_ERROR]
        self._end = (self._end + chunk)[-len(PARQUET_MAGIC) :]
        self._progress.advance(len(chunk))
        self._held += chunk
        if not self._is_held or len(self._held) > _LARGEST_JSON_ERROR:
            self._is_held = False
            self._let_go()

    def _let_go(self) -> None:
        held, self._held = self._held, b""
        # Whatever a storage layer raises: it must not be taken for a failure of the connection to the platform.
        try:
            self._file.write(held)
        except Exception as error:
            raise transfer.unwritable(self._name, error) from error

    def close(self, received: int) -> None:
        """Remember how many bytes came over the wire."""
        self._received = received

    def verify(self, response: Response) -> int:
        """Return the size of the file.

        :raises PolyteiaError: if the response is an error, or the file is not complete, or not of the right format.
        """
        if not self._is_taken:
            check(PATH, response, self._identity)
            raise problems.foreign(response, self._identity, PATH, "JSON")
        length = _length(response)
        if length is not None and length != self._received:
            problem = f"{self._received} bytes came, {length} were announced"
            raise problems.no_answer(PATH, self._identity.config.conn_id, problem)
        if response.is_json and _is_error(self._begin):
            check(PATH, replace(response, body=self._begin), self._identity)
        if self._content_type == PARQUET and not (self._begin[:4] == self._end == PARQUET_MAGIC):
            kind = "what is no complete Parquet file"
            raise problems.foreign(replace(response, body=b""), self._identity, PATH, kind)
        self._let_go()
        return self._progress.done


def _length(head: Response) -> int | None:
    value = head.headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdecimal() else None


def _is_error(begin: bytes) -> bool:
    """Tell a small JSON object that reports an error (API reference 3.4) from exported rows."""
    try:
        value = json.loads(begin)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and ("error" in value or {"code", "message"} <= value.keys())
