"""The exceptions that the pages of docs/how-to quote are those that a user gets."""

from __future__ import annotations

import json
import re
import sqlite3
import ssl
from contextlib import closing

import pytest
import trustme
from airflow.providers.common.compat.sdk import AirflowSensorTimeout
from how_to_pages import CSV, WORKBOOK, assert_quoted, load, new_dataset
from relays import Relay
from servers import ScriptedServer, status

from airflow_provider_polyteia.exceptions import (
    PolyteiaAuthenticationError,
    PolyteiaConfigurationError,
    PolyteiaDataError,
    PolyteiaError,
    PolyteiaIngestError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaPermissionError,
    PolyteiaPreconditionError,
)
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.operators.polyteia import PolyteiaCallOperator, PolyteiaCommandOperator
from airflow_provider_polyteia.operators.sql import SqlTablesOperator
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.sensors.dataset import DatasetUploadedSensor
from airflow_provider_polyteia.transfers.polyteia_to_file import PolyteiaToFileOperator

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


NEW_KEY = (
    "The key is missing, invalid, expired or revoked; create a new key in Polyteia under Settings -> Personal Access "
    "Keys and put it into connection 'polyteia_default'."
)


@pytest.fixture
def sandbox(monkeypatch):
    """A new sandbox, as the connection `polyteia_default`."""
    with Sandbox() as running:
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", running.airflow_connection())
        yield running


@pytest.fixture
def dataset_id(sandbox):
    """A new, empty dataset."""
    return new_dataset()


@pytest.fixture
def bookings(tmp_path):
    """The file of german-csv.md."""
    path = tmp_path / "bookings.csv"
    path.write_bytes(CSV.encode("cp1252"))
    return path


# german-csv.md


@pytest.mark.parametrize(
    ("content", "convert"),
    [
        (CSV, False),
        ("Auswertung\n\n" + CSV, True),
        (CSV.partition(";02.01.2027")[0] + "\n", True),
        (CSV.replace("-0,99", "k.A."), {"columns": {"Betrag": "DECIMAL(12,2)"}}),
        ("<html><body>Login</body></html>", True),
    ],
)
def test_german_csv_errors(dataset_id, bookings, content, convert):
    """The page quotes the exceptions."""
    bookings.write_bytes(content.encode("cp1252"))
    with pytest.raises(PolyteiaDataError) as caught:
        load(bookings, dataset_id, convert=convert)
    sentence = re.split(r"(?<=\.) |, which", str(caught.value))[0]
    assert_quoted("german-csv.md", sentence)


def test_missing_file(dataset_id):
    """The page quotes the exception for its own path."""
    with pytest.raises(PolyteiaError) as caught:
        load("/data/finance/bookings.csv", dataset_id, convert=True)
    assert type(caught.value) is PolyteiaError
    assert_quoted("german-csv.md", str(caught.value))


# when-a-load-fails.md


@pytest.mark.parametrize(
    ("content", "arguments"),
    [("<html><body>Login</body></html>", {}), ("id;amount\n", {"convert": True, "min_rows": 1})],
)
def test_data_error(dataset_id, bookings, content, arguments):
    """The page quotes the exceptions of data that failed a check."""
    bookings.write_text(content)
    with pytest.raises(PolyteiaDataError) as caught:
        load(bookings, dataset_id, **arguments)
    assert_quoted("when-a-load-fails.md", str(caught.value))


@pytest.mark.parametrize(
    ("fault", "error"), [("ingest-failed", PolyteiaIngestError), ("ingest-stuck", PolyteiaOutcomeUnknownError)]
)
def test_ingest_error(monkeypatch, tmp_path, fault, error):
    """The page quotes the exceptions of an ingest that failed, and of one that did not finish."""
    (tmp_path / "bookings.csv").write_text("id,amount\n1,2\n3,4\n")
    with Sandbox(api="rpc") as running:
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", running.airflow_connection())
        created = new_dataset()
        running.faults.add(f"/api/upload/dataset:{fault}")
        with pytest.raises(error) as caught:
            load(tmp_path / "bookings.csv", created, ingest_timeout=1)
    assert_quoted("when-a-load-fails.md", str(caught.value))


def test_lost_response(sandbox):
    """The page quotes the exception of a write whose response is lost."""
    sandbox.faults.add("create_tag:drop-after")
    tag = {"solution_id": SANDBOX_SOLUTION_ID, "name": "Finance", "description": "", "color": "#ff0000"}
    with pytest.raises(PolyteiaOutcomeUnknownError) as caught:
        PolyteiaCommandOperator(task_id="tag", command="create_tag", parameters=tag).execute({})
    assert_quoted("when-a-load-fails.md", str(caught.value))


@pytest.mark.parametrize(
    ("key", "error", "part"),
    [
        ("pak_old", PolyteiaAuthenticationError, "The key is missing, invalid, expired or revoked"),
        ("pak_viewer", PolyteiaPermissionError, "its account does not have permission for this operation"),
        (
            None,
            PolyteiaPreconditionError,
            "must open the solution in Polyteia and acknowledge its current data-processing terms",
        ),
    ],
)
def test_rejected_key(monkeypatch, tmp_path, key, error, part):
    """The page quotes parts of the exceptions that a person has to resolve in Polyteia."""
    (tmp_path / "bookings.csv").write_text("id,amount\n1,2\n3,4\n")
    terms = [SANDBOX_SOLUTION_ID]
    with Sandbox(api="rpc", read_only_paks=["pak_viewer"], unacknowledged_solutions=terms) as running:
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", running.airflow_connection())
        created = new_dataset()
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", running.airflow_connection(*filter(None, [key])))
        with pytest.raises(error, match=part):
            load(tmp_path / "bookings.csv", created)
    assert_quoted("when-a-load-fails.md", part)


def test_placeholder(sandbox, bookings):
    """The page quotes the exception of an example's placeholder."""
    with pytest.raises(PolyteiaConfigurationError) as caught:
        load(bookings, "ds_...")
    assert_quoted("when-a-load-fails.md", str(caught.value))


# wait-for-a-delivery.md


def wait(**arguments):
    """Create a sensor like that of the page."""
    given = {"solution_id": SANDBOX_SOLUTION_ID, "slug": "bookings", **arguments}
    return DatasetUploadedSensor(task_id="wait_for_delivery", **given)


def test_timeout_of_a_wait(sandbox):
    """The page quotes the exception of a deferred wait that has timed out."""
    with pytest.raises(AirflowSensorTimeout) as caught:
        wait(timeout=12 * 60 * 60).execute_complete({}, {"status": "timed out"})
    assert_quoted("wait-for-a-delivery.md", str(caught.value))


@pytest.mark.parametrize(
    ("arguments", "error", "part"),
    [
        ({"slug": "bokings"}, PolyteiaNotFoundError, "was rejected with error 404 in HTTP 200: 'dataset not found'"),
        (
            {"uploaded_after": ""},
            PolyteiaConfigurationError,
            "Argument 'uploaded_after' of task 'wait_for_delivery' is ''; it must be an ISO 8601 timestamp",
        ),
    ],
)
def test_wait_errors(dataset_id, arguments, error, part):
    """The page quotes parts of the exceptions."""
    with pytest.raises(error) as caught:
        wait(**arguments).execute({})
    assert part in str(caught.value)
    assert_quoted("wait-for-a-delivery.md", part)


@pytest.mark.parametrize(("arguments", "sentence"), [({"min_size": 1024}, 0), ({"timestamp_field": "delivered_at"}, 1)])
def test_wait_errors_of_the_rpc_api(monkeypatch, arguments, sentence):
    """The page quotes a sentence of each exception."""
    with Sandbox(api="rpc") as running:
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", running.airflow_connection())
        new_dataset()
        with pytest.raises(PolyteiaConfigurationError) as caught:
            wait(**arguments).execute({})
    assert_quoted("wait-for-a-delivery.md", re.split(r"(?<=\.) ", str(caught.value))[sentence])


# mirror-a-database.md


@pytest.mark.parametrize("include", [["nothing_*"], "res_*"])
def test_mirror_errors(monkeypatch, tmp_path, include):
    """The page quotes the exceptions."""
    pytest.importorskip("airflow.providers.sqlite", reason="the SQLite provider is optional")
    path = tmp_path / "register.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE parcels (id INTEGER)")
    connection = json.dumps({"conn_type": "sqlite", "host": str(path)})
    monkeypatch.setenv("AIRFLOW_CONN_REGISTER_DATABASE", connection)
    with pytest.raises(PolyteiaConfigurationError) as caught:
        SqlTablesOperator(task_id="list_tables", conn_id="register_database", include=include).execute({})
    assert_quoted("mirror-a-database.md", str(caught.value))


# excel-sheet.md


@pytest.mark.parametrize(
    "convert",
    [
        True,
        {"sheet": "Date"},
        {"sheet": "Daten"},
        {"sheet": "Daten", "skip": 2, "columns": {"m": "INTEGER"}},
    ],
)
def test_excel_errors(dataset_id, convert):
    """The page quotes the exceptions."""
    with pytest.raises(PolyteiaDataError) as caught:
        load(WORKBOOK, dataset_id, convert=convert)
    text = str(caught.value).removeprefix("'bericht.xlsx' cannot be converted: ")
    assert_quoted("excel-sheet.md", re.split(r" (?:Nothing|Check)|, which", text)[0])


def test_incomplete_workbook(dataset_id, tmp_path):
    """The page quotes the exception of a workbook that is still being written."""
    (tmp_path / "bericht.xlsx").write_bytes(WORKBOOK.read_bytes()[:2000])
    with pytest.raises(PolyteiaDataError) as caught:
        load(tmp_path / "bericht.xlsx", dataset_id, convert=True)
    assert_quoted("excel-sheet.md", str(caught.value).partition(": ")[2].partition(" Nothing")[0])


# open-data-export.md


def export(destination, sql, dataset_id):
    """Run `PolyteiaToFileOperator` without Airflow."""
    arguments = {"sql": sql, "datasets": {"bookings": dataset_id}, "destination": str(destination)}
    PolyteiaToFileOperator(task_id="export", **arguments).execute({})


@pytest.mark.parametrize(
    ("file", "sql", "part"),
    [
        (
            "nowhere/bookings.csv",
            "1 FROM {bookings}",
            "cannot be written: its directory does not exist on this worker.",
        ),
        ("bookings.csv", "1 FROM b", "'datasets' defines 'bookings', but the SQL statement does not use {bookings}."),
        ("bookings", "1 FROM {bookings}", "The extension of 'bookings' does not identify a format."),
        ("bookings.csv", "amount FROM {bookings}", 'Referenced column "amount" not found in FROM clause!'),
    ],
)
def test_export_errors(sandbox, dataset_id, tmp_path, file, sql, part):
    """The page quotes parts of the exceptions."""
    sandbox.upload(dataset_id, b"id\n1\n")
    with pytest.raises(PolyteiaError, match=re.escape(part)):
        export(tmp_path / file, f"SELECT {sql}", dataset_id)
    assert_quoted("open-data-export.md", part)


# proxy-and-private-ca.md


def connection_test(monkeypatch, **parts):
    """Return what the test of this connection reports."""
    connection = {"conn_type": "polyteia", "password": "pak_of_the_how_tos", **parts}
    connection["extra"] = {"api": "command", "max_attempts": 1, **connection.get("extra", {})}
    monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", json.dumps(connection))
    works, text = PolyteiaHook().test_connection()
    assert not works
    return text.removeprefix("Connection 'polyteia_default' ")


def test_connection_errors(monkeypatch, tmp_path):
    """The page quotes the exceptions of extras that are unusable."""
    page = "proxy-and-private-ca.md"
    missing = connection_test(monkeypatch, extra={"verify": "/etc/ssl/certs/city-ca.pem"})
    assert_quoted(page, missing)
    (tmp_path / "city-ca.cer").write_bytes(b"\x30\x82")
    der = connection_test(monkeypatch, extra={"verify": str(tmp_path / "city-ca.cer")})
    assert_quoted(page, re.search(r"a certificate file .+? format\.", der)[0])
    malformed = connection_test(monkeypatch, extra={"proxies": "http://proxy.example:3128"})
    assert_quoted(page, malformed)
    unused = connection_test(monkeypatch, extra={"proxies": {"http": "http://proxy.example:3128"}})
    assert_quoted(page, re.search(r"has no proxy .+? extra 'proxies'", unused)[0])


@pytest.mark.parametrize(
    ("proxy", "quoted"),
    [
        ("http://127.0.0.1:9", r"or the proxy .+? connection\."),
        ("http://proxy.invalid:3128", r"the host name of the proxy could not be resolved\."),
        ("http://airflow:p#ss@127.0.0.1:9", r"its host or port .+?port\."),
    ],
)
def test_proxy_errors(monkeypatch, proxy, quoted):
    """The page quotes the exceptions of a proxy that is down or cannot be found."""
    text = connection_test(monkeypatch, extra={"proxies": {"https": proxy}})
    assert_quoted("proxy-and-private-ca.md", re.search(quoted, text)[0])


def test_missing_proxy(monkeypatch):
    """The page quotes the exception of a machine that cannot resolve the platform's name."""
    text = connection_test(monkeypatch, host="https://polyteia.invalid")
    assert_quoted("proxy-and-private-ca.md", re.search(r"could not be resolved\. .+?'\.", text)[0])


def test_proxy_without_credentials(monkeypatch):
    """The page quotes the exception of a proxy that requires a password."""
    with Relay(credentials="airflow:secret") as proxy:
        text = connection_test(monkeypatch, extra={"proxies": {"https": f"http://127.0.0.1:{proxy.port}"}})
    assert_quoted("proxy-and-private-ca.md", re.search(r"was not sent: .+?\(HTTP 407\)\.", text)[0])


def test_untrusted_certificate(monkeypatch):
    """The page quotes the exception of a certificate that is not trusted, without OpenSSL's part."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with ScriptedServer(context) as server:
        text = connection_test(monkeypatch, host=server.url)
    assert "the server's certificate is not trusted" in text
    assert_quoted("proxy-and-private-ca.md", "the server's certificate is not trusted")
    advice = 'set the extra "verify" of '
    assert advice in text
    assert_quoted("proxy-and-private-ca.md", advice)


@pytest.mark.parametrize(
    ("code", "part"),
    [
        (200, "with an HTML page, instead of a Polyteia response"),
        (302, "with a redirect, which is never followed, instead of a Polyteia response"),
        (403, "The response is an HTML page, probably the login or block page of a proxy or firewall"),
    ],
)
def test_login_page(monkeypatch, server, code, part):
    """The page quotes the exception of a proxy that shows a login page or a block page."""
    server.respond(status(code, b"<html>Login</html>", content_type="text/html"))
    assert part in connection_test(monkeypatch, host=server.url)
    assert_quoted("proxy-and-private-ca.md", part)


# rotate-a-key.md


@pytest.mark.parametrize(
    ("key", "error", "part"),
    [
        (
            "pak_old",
            PolyteiaAuthenticationError,
            NEW_KEY,
        ),
        ("pak_new ", PolyteiaConfigurationError, "has leading or trailing whitespace in the key"),
        ("pak_viewer", PolyteiaPermissionError, "its account does not have permission for this operation"),
    ],
)
def test_key_errors(monkeypatch, bookings, key, error, part):
    """The page quotes parts of the exceptions."""
    with Sandbox(read_only_paks=["pak_viewer"]) as running:
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", running.airflow_connection())
        created = new_dataset()
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", running.airflow_connection(key))
        with pytest.raises(error, match=re.escape(part)):
            load(bookings, created, convert=True)
    assert_quoted("rotate-a-key.md", part)


# move-to-the-rpc-api.md


def test_errors_of_the_rpc_api(monkeypatch, bookings):
    """The page quotes the exceptions."""
    page, on_rpc = "move-to-the-rpc-api.md", {"polyteia_conn_id": "polyteia_rpc"}
    with Sandbox(api="rpc") as running:
        connection = json.loads(running.airflow_connection())
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", json.dumps(connection))
        created = new_dataset()
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_RPC", json.dumps(connection))
        with pytest.raises(PolyteiaConfigurationError) as wrong_api:
            PolyteiaCommandOperator(task_id="tag", command="create_tag", parameters={"name": "x"}, **on_rpc).execute({})
        with pytest.raises(PolyteiaConfigurationError) as no_size:
            wait(min_size=1024, **on_rpc).execute({})
        with pytest.raises(PolyteiaConfigurationError) as no_field:
            wait(timestamp_field="delivered_at", **on_rpc).execute({})
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", json.dumps({**connection, "extra": {"api": "command"}}))
        with pytest.raises(PolyteiaConfigurationError) as not_returned:
            PolyteiaCallOperator(task_id="tag", procedure="tag/assignTag", parameters={"tagId": "x"}).execute({})
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_RPC", json.dumps({**connection, "extra": {"api": "rpc"}}))
        with pytest.raises(PolyteiaConfigurationError) as no_organization:
            load(bookings, created, convert=True, **on_rpc)
    assert_quoted(page, sentences(wrong_api)[0])
    assert_quoted(page, sentences(no_size)[0])
    assert_quoted(page, sentences(no_field)[1])
    assert_quoted(page, sentences(not_returned)[0])
    assert_quoted(page, str(no_organization.value))


def sentences(caught):
    """Return the sentences of an exception."""
    return re.split(r"(?<=\.) ", str(caught.value))
