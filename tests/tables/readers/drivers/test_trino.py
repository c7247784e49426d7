"""Trino's driver, through Trino's own client, with a server that speaks Trino's protocol (HTTP)."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_polyteia.tables.readers.base import Query, ReadError
from airflow_provider_polyteia.tables.readers.dbapi import DbApiReader

trino = pytest.importorskip("trino", reason="Trino's client is not installed")

pytestmark = pytest.mark.slow  # a real HTTP server

_PAGE = 1000
_BIGINT = {"rawType": "bigint", "arguments": []}
_ROW = [
    {
        "kind": "NAMED_TYPE",
        "value": {"fieldName": {"name": name}, "typeSignature": {"rawType": raw, "arguments": arguments}},
    }
    for name, raw, arguments in (
        ("a", "decimal", [{"kind": "LONG", "value": 3}, {"kind": "LONG", "value": 1}]),
        ("b", "date", []),
        ("c", "double", []),
        ("d", "varbinary", []),
    )
]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # so that a response is one packet

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        sql = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.statements.append(sql)
        self._reply({"nextUri": self._uri(0)})

    def do_GET(self):
        page = int(self.path.rpartition("/")[2])
        server = self.server
        if server.error is not None:
            self._reply({"error": server.error})
            return
        rows = server.rows[page * _PAGE : (page + 1) * _PAGE]
        self._reply(
            {"columns": server.columns}
            | ({"data": rows} if rows else {})
            | ({"nextUri": self._uri(page + 1)} if len(server.rows) > (page + 1) * _PAGE else {})
        )

    def do_DELETE(self):
        self.server.cancelled.set()
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _uri(self, page):
        return f"http://127.0.0.1:{self.server.server_port}/v1/statement/executing/q1/{page}"

    def _reply(self, content):
        body = json.dumps(
            {"id": "q1", "infoUri": "http://127.0.0.1/q1", "stats": {"state": "RUNNING"}} | content
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def coordinator():
    """A coordinator with the result of any query."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.columns, server.rows, server.error = [], [], None
        server.statements, server.cancelled = [], Event()
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def column(name, type_name, arguments=None):
    """A column as the protocol describes it; the arguments of a type are its numbers unless they are given."""
    numbers = [{"kind": "LONG", "value": int(number)} for number in re.findall(r"\d+", type_name)]
    raw_type = re.sub(r"\(.*?\)", "", type_name) if arguments is None else type_name.partition("(")[0]
    signature = {"rawType": raw_type, "arguments": numbers if arguments is None else arguments}
    return {"name": name, "type": type_name, "typeSignature": signature}


def connect(coordinator):
    return trino.dbapi.connect(host="127.0.0.1", port=coordinator.server_port, user="airflow", max_attempts=1)


def load(coordinator, sql="SELECT 1", parameters=None, **options):
    hook = SimpleNamespace(get_conn=lambda: connect(coordinator))
    with DbApiReader(hook, Query(sql, parameters, **options)).stage(None) as staged:
        return pq.read_table(staged.file)


_NESTED = [
    (column("c", "array(bigint)", [{"kind": "TYPE", "value": _BIGINT}]), [1, None, 2], "[1, null, 2]"),
    (
        column(
            "c",
            "map(varchar(1), bigint)",
            [{"kind": "TYPE", "value": raw} for raw in ({"rawType": "varchar", "arguments": []}, _BIGINT)],
        ),
        {"é": 1},
        '{"é": 1}',
    ),
    (
        column("c", "row(a decimal(3,1), b date, c double, d varbinary)", _ROW),
        ["1.5", "2024-02-29", "NaN", base64.b64encode(b"\x00\xff").decode()],
        '{"a": "1.5", "b": "2024-02-29", "c": "nan", "d": "00ff"}',
    ),
]


@pytest.mark.parametrize(
    ("info", "value", "arrow_type", "expected"),
    [
        (column("c", "boolean"), True, pa.bool_(), True),
        (column("c", "tinyint"), -128, pa.int8(), -128),
        (column("c", "smallint"), 1, pa.int16(), 1),
        (column("c", "integer"), 1, pa.int32(), 1),
        (column("c", "bigint"), 2**63 - 1, pa.int64(), 2**63 - 1),
        (column("c", "real"), 1.5, pa.float32(), 1.5),
        (column("c", "double"), "Infinity", pa.float64(), float("inf")),
        (column("c", "decimal(12,2)"), "1.50", pa.decimal128(12, 2), Decimal("1.50")),
        (column("c", "decimal(38, 0)"), "1" * 38, pa.decimal128(38, 0), Decimal("1" * 38)),
        (column("c", "date"), "2024-02-29", pa.date32(), dt.date(2024, 2, 29)),
        (column("c", "time(3)"), "01:02:03.456", pa.time64("us"), dt.time(1, 2, 3, 456000)),
        (column("c", "time(3) with time zone"), "01:02:03.456+02:00", pa.string(), "01:02:03.456000+02:00"),
        (
            column("c", "timestamp(6)"),
            "2024-02-29 01:02:03.456789",
            pa.timestamp("us"),
            dt.datetime(2024, 2, 29, 1, 2, 3, 456789),
        ),
        (
            column("c", "timestamp(3) with time zone"),
            "2024-07-01 12:00:00.000 Europe/Amsterdam",
            pa.timestamp("us", "UTC"),
            dt.datetime(2024, 7, 1, 10, tzinfo=dt.UTC),
        ),
        (column("c", "interval day to second"), "-1 02:03:04.500", pa.string(), "-P1DT2H3M4.5S"),
        (column("c", "interval year to month"), "1-2", pa.string(), "P1Y2M"),
        (column("c", "varchar(10)"), "é", pa.string(), "é"),
        (column("c", "varchar", [{"kind": "LONG", "value": 2**31 - 1}]), "", pa.string(), ""),
        (column("c", "char(3)"), "é  ", pa.string(), "é  "),
        (column("c", "varbinary"), "AP8=", pa.binary(), b"\x00\xff"),
        (column("c", "json"), '{"a":1.10}', pa.string(), '{"a":1.10}'),
        (
            column("c", "uuid"),
            "6f9619ff-8b86-d011-b42d-00c04fc964ff",
            pa.string(),
            "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        ),
        (column("c", "ipaddress"), "::1", pa.string(), "::1"),
        (column("c", "Geometry"), "POINT (1 2)", pa.string(), "POINT (1 2)"),
        *[(info, value, pa.string(), expected) for info, value, expected in _NESTED],
    ],
)
def test_types(coordinator, info, value, arrow_type, expected):
    """Each type of Trino has one type of Parquet, for no, one and many rows."""
    coordinator.columns = [info]
    for rows in ([], [[value]], [[None], *[[value]] * 2500]):
        coordinator.rows = rows
        table = load(coordinator)
        assert table.schema == pa.schema([("c", arrow_type)])
        assert table.column(0).to_pylist() == [None if row[0] is None else expected for row in rows]


def test_number(coordinator):
    """A number without digits is always a decimal, with as many decimal places as its values need."""
    coordinator.columns = [column("n", "number")]
    assert load(coordinator).schema.types == [pa.decimal128(38, 0)]
    coordinator.rows = [["12345678901234567"], ["0.25"]]
    table = load(coordinator)
    assert table.schema.types == [pa.decimal128(38, 2)]
    assert table.column(0).to_pylist() == [Decimal("12345678901234567.00"), Decimal("0.25")]


def test_null(coordinator):
    """A column of an unknown type is text."""
    coordinator.columns, coordinator.rows = [column("n", "unknown")], [[None]]
    assert load(coordinator).schema.types == [pa.string()]


def test_statement(coordinator):
    """The query is sent as it is, with its parameters as literals."""
    coordinator.columns = [column("a", "integer")]
    load(coordinator, "SELECT a FROM t")
    trino.dbapi.must_use_legacy_prepared_statements.put(("127.0.0.1", coordinator.server_port), value=False)
    load(coordinator, "SELECT a FROM t WHERE b = ?", ("x",))
    assert coordinator.statements == [
        "SELECT a FROM t",
        "EXECUTE IMMEDIATE 'SELECT a FROM t WHERE b = ?' USING 'x'",
    ]


def test_cancel(coordinator):
    """A running query is cancelled on the server, also if not all of its rows are read."""
    coordinator.columns, coordinator.rows = [column("a", "integer")], [[1]] * 5000
    reader = DbApiReader(SimpleNamespace(get_conn=lambda: connect(coordinator)), Query("SELECT 1"))
    reader.cancel()
    batches = reader.read_batches()
    next(batches)
    assert not coordinator.cancelled.is_set()
    reader.cancel()
    assert coordinator.cancelled.is_set()
    coordinator.cancelled.clear()
    batches.close()
    assert coordinator.cancelled.wait(5)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            {
                "errorName": "COLUMN_NOT_FOUND",
                "errorType": "USER_ERROR",
                "message": "line 1:8: Column 'street' cannot be resolved",
            },
            "TrinoUserError COLUMN_NOT_FOUND: line 1:8: Column 'street' cannot be resolved",
        ),
        (
            {"errorName": "TYPE_MISMATCH", "errorType": "USER_ERROR", "message": "line 1:8: Cannot apply 'Jan Jansen'"},
            "TrinoUserError TYPE_MISMATCH: line 1:8: Cannot apply '...'",
        ),
        (
            {"errorName": "INVALID_LITERAL", "errorType": "USER_ERROR", "message": "line 2:3: Invalid literal: 98765"},
            "TrinoUserError INVALID_LITERAL: line 2:3: Invalid literal: ...",
        ),
        (
            {
                "errorName": "INVALID_CAST_ARGUMENT",
                "errorType": "USER_ERROR",
                "message": "Cannot cast 'Jan Jansen' to INT",
            },
            "TrinoUserError INVALID_CAST_ARGUMENT",
        ),
        (
            {"errorName": "GENERIC_INTERNAL_ERROR", "errorType": "INTERNAL_ERROR", "message": "Jan Jansen"},
            "TrinoQueryError GENERIC_INTERNAL_ERROR",
        ),
    ],
)
def test_errors_without_values(coordinator, error, expected):
    """The text of an error has no value of a row or of a parameter."""
    coordinator.error = error
    with pytest.raises(ReadError) as raised:
        load(coordinator, "SELECT street FROM t")
    assert str(raised.value) == expected


def test_value_that_python_does_not_have(coordinator):
    """A value that the client cannot convert is an error without it."""
    coordinator.columns, coordinator.rows = [column("d", "date")], [["12024-02-29"]]
    with pytest.raises(ReadError, match=r"^TrinoDataError$"):
        load(coordinator)


def test_server_that_does_not_answer(coordinator):
    """An error of the connection is reported with its text."""
    coordinator.shutdown()
    coordinator.server_close()
    with pytest.raises(ReadError, match="TrinoConnectionError: failed to execute"):
        load(coordinator)
