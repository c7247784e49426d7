"""The query of a URL, which may hold a token, reaches no log of requests or urllib3."""

from __future__ import annotations

import logging

import pytest
from servers import KEY, RawServer, read_request

from airflow_provider_polyteia.client.operation import Idempotency, Operation, Request
from airflow_provider_polyteia.client.transports.requests_adapter import hide_queries_in_logs

TOKEN = "export-token-SECRET"  # made up
MALFORMED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nno header at all\r\nContent-Type: text/plain\r\n\r\nOK"


@pytest.fixture
def malformed_headers():
    """A server whose response headers make urllib3 log a warning with the URL."""
    with RawServer(lambda connection: (read_request(connection), connection.sendall(MALFORMED))) as server:
        yield server


@pytest.fixture
def all_logs(caplog):
    """Capture everything, from every logger."""
    loggers = [logging.getLogger(name) for name in ("urllib3", "requests", "airflow_provider_polyteia")]
    for logger in loggers:
        caplog.set_level(logging.DEBUG, logger=logger.name)
    return caplog


def flow():
    request = Request("GET", "/download", "/download", query={"token": TOKEN}, bearer=KEY)
    response = yield request
    return response.status


def test_url_with_a_token(malformed_headers, make_client, all_logs):
    """urllib3 logs the URL of a response with malformed headers, but without the query."""
    client = make_client(host=f"http://127.0.0.1:{malformed_headers.port}")
    assert client.run(Operation("/download", flow, Idempotency.SAFE, {})) == 200
    warnings = [record for record in all_logs.records if record.name == "urllib3.connection"]
    assert [record.levelname for record in warnings] == ["WARNING"]
    assert "/download?***" in warnings[0].getMessage()
    requests = [record for record in all_logs.records if record.name == "urllib3.connectionpool"]
    assert any("/download?***" in record.getMessage() for record in requests)
    for record in all_logs.records:
        assert TOKEN not in logging.Formatter().format(record)
        assert TOKEN not in repr(vars(record))


def test_logger_that_appears_later(caplog):
    """A module of urllib3 that is imported later is covered by the next session."""
    late = logging.getLogger("urllib3.made_up_for_a_test")
    hide_queries_in_logs()
    hide_queries_in_logs()
    assert len(late.filters) == 1
    with caplog.at_level(logging.DEBUG, logger="urllib3"):
        late.warning("at %s: %s", "https://host/path?token=abc", ValueError("GET /x?y=z failed"))
        late.warning("https://host/path?token=abc")
        late.info("100 %% of %d", 3)
    assert [record.getMessage() for record in caplog.records] == [
        "at https://host/path?***: GET /x?*** failed",
        "https://host/path?***",
        "100 % of 3",
    ]
