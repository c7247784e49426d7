"""The query of a URL, which may contain a token, does not reach any log of requests or urllib3."""

from __future__ import annotations

import logging

import pytest
from servers import RawServer, read_request

from airflow_provider_polyteia.client.operation import Idempotency, Operation, Request
from airflow_provider_polyteia.client.transports.requests_adapter import hide_queries_in_logs

TOKEN = "export-SECRET-token-7"  # made up
# A header line without a colon: urllib3 logs a warning with the URL, and a traceback.
MALFORMED = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: 3\r\nnot a header\r\n\r\na;b"


def library_loggers():
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in ("urllib3", "requests")]
    return [logging.getLogger(name) for name in names]


def download_flow():
    response = yield Request("GET", "/download", "/download", query={"token": TOKEN}, bearer="made-up-key")
    return response.body


@pytest.fixture
def server():
    """A server that sends malformed headers."""
    with RawServer(lambda connection: (read_request(connection), connection.sendall(MALFORMED))) as running:
        yield running


def test_query_is_in_no_log_record(server, make_client, caplog):
    """With every logger at DEBUG, the token of a download is not in any record, its arguments or its traceback."""
    client = make_client(host=f"http://127.0.0.1:{server.port}")
    for logger in [logging.getLogger(), *library_loggers()]:
        caplog.set_level(logging.DEBUG, logger=logger.name if logger.parent else None)
    assert client.run(Operation("/download", download_flow, Idempotency.SAFE, {})) == b"a;b"
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.name for record in warnings] == ["urllib3.connection"]
    assert "Failed to parse headers (url=" in warnings[0].getMessage()
    assert "/download?***" in warnings[0].getMessage()
    assert warnings[0].exc_text  # written by the handler of caplog
    assert "urllib3.connectionpool" in {record.name for record in caplog.records}
    for record in caplog.records:
        assert TOKEN not in f"{record.getMessage()} {record.msg} {record.args!r} {record.exc_text} {record.exc_info}"
    assert TOKEN not in caplog.text


def test_logger_created_later(caplog):
    """A logger that a library creates later is filtered after another call; other loggers are not."""
    hide_queries_in_logs()
    later, other = logging.getLogger("urllib3.test_created_later"), logging.getLogger("urllib3_is_not_this")
    hide_queries_in_logs()
    hide_queries_in_logs()
    url = f"https://app.polyteia.com/download?token={TOKEN}"
    with caplog.at_level(logging.DEBUG):
        later.debug("GET %s: %s", url, ValueError(f"unparsed {url}"))
        later.debug(f"GET {url}")
        other.debug("GET %s", "https://example.org/?page=2")
    assert [record.getMessage() for record in caplog.records] == [
        "GET https://app.polyteia.com/download?***: unparsed https://app.polyteia.com/download?***",
        "GET https://app.polyteia.com/download?***",
        "GET https://example.org/?page=2",
    ]
    assert (len(later.filters), other.filters) == (1, [])


def test_records_without_a_query_are_unchanged(caplog):
    """Arguments without a query keep their type, so that formats such as %d work."""
    hide_queries_in_logs()
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("urllib3.connectionpool").debug("%s: HTTP %d", "/api", 200)
    assert caplog.records[0].args == ("/api", 200)
    assert caplog.messages == ["/api: HTTP 200"]


ECHO = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nno header: but\r\nGET /download?token=%s\r\n\r\nx" % TOKEN.encode()


def test_traceback_with_the_url(make_client, caplog):
    """A malformed header that echoes the URL does not bring the token into the log through the traceback."""
    with RawServer(lambda connection: (read_request(connection), connection.sendall(ECHO))) as server:
        client = make_client(host=f"http://127.0.0.1:{server.port}")
        with caplog.at_level(logging.DEBUG, logger="urllib3"):
            client.run(Operation("/download", download_flow, Idempotency.SAFE, {}))
    assert "Failed to parse headers" in caplog.text
    assert TOKEN not in caplog.text
