"""SQL on the RPC API: an Arrow stream becomes JSON, Parquet or CSV, and a part of one never becomes a file."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial

import pytest
from rpc_responses import SESSION, failure, output
from servers import Reply, status

from airflow_provider_polyteia.client.file_sink import Destination
from airflow_provider_polyteia.client.rpc_api import arrow
from airflow_provider_polyteia.client.rpc_api.operations import RpcAPI
from airflow_provider_polyteia.client.sql_references import Query
from airflow_provider_polyteia.exceptions import (
    PolyteiaBadRequestError,
    PolyteiaConfigurationError,
    PolyteiaError,
    PolyteiaOutcomeUnknownError,
    PolyteiaTransportError,
)
from airflow_provider_polyteia.storage import atomic_write
from airflow_provider_polyteia.tables.file_checks.ends import new_end_check

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pc = pytest.importorskip("pyarrow.csv")

DATASET = output({"id": "ds_1", "solutionId": "sol_1"})
QUERY = Query("SELECT * FROM '{{ds_1}}'", ["ds_1"])
TABLE = pa.table(
    {
        "id": pa.array([1, 2**60, None], pa.int64()),
        "amount": pa.array([Decimal("1.10"), None, Decimal("-2.00")], pa.decimal128(10, 2)),
        "day": pa.array([date(2026, 1, 31), None, date(1, 1, 1)]),
        "at": pa.array([datetime(2026, 1, 31, 12, tzinfo=UTC), None, None], pa.timestamp("us", "UTC")),
        "clock": pa.array([time(6, 30), None, None], pa.time64("us")),
        "share": pa.array([0.5, float("nan"), float("inf")]),
        "name": pa.array(["Müller", "", None]),
        "raw": pa.array([b"\x00\xff", None, b""]),
        "tags": pa.array([["a", None], [], None], pa.list_(pa.string())),
        "paid": pa.array([True, None, False]),
    }
)
FLAT = TABLE.drop_columns(["tags", "raw"])


def stream(table, *, batches=1):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for _ in range(batches):
            writer.write_table(table)
    return sink.getvalue()


def arrow_reply(content, **headers):
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(200, content, named, content_type="application/vnd.apache.arrow.stream")


def execute(client, query=QUERY, *, idempotent=True):
    return client.run(RpcAPI(client.credentials).execute_sql(query, idempotent=idempotent))


def export(client, path, content_type="application/vnd.apache.parquet"):
    target = Destination(lambda: atomic_write(path), content_type, path.name, partial(new_end_check, content_type))
    return client.run(RpcAPI(client.credentials).export(QUERY, target, 5))


def test_request(server, rpc_client):
    """The solution is looked up; the dataset is named by its bare id."""
    server.respond(SESSION, DATASET, arrow_reply(stream(TABLE)))
    execute(rpc_client, Query("SELECT * FROM '{{ds_1}}' WHERE a = ? AND b = $b", ["ds_1"], [1], {"b": 2}))
    assert server.requests[-1].path == "/api/query"
    sql = "SELECT * FROM 'ds_1' WHERE a = ? AND b = $b"
    assert server.requests[-1].json == {"query": sql, "solution_id": "sol_1", "args": [1], "named_args": {"b": 2}}


def test_result(server, rpc_client):
    """Values are JSON: digits and time zones are kept, what JSON has no number for is null."""
    server.respond(SESSION, DATASET, arrow_reply(stream(TABLE)))
    result = execute(rpc_client)
    json.dumps(result, allow_nan=False)
    types = {column["name"]: column["type"] for column in result["columns"]}
    assert (types["id"], types["amount"], types["at"]) == ("BIGINT", "DECIMAL(10,2)", "TIMESTAMP WITH TIME ZONE")
    assert result["rows"] == [
        [1, "1.10", "2026-01-31", "2026-01-31T12:00:00+00:00", "06:30:00", 0.5, "Müller", "AP8=", ["a", None], True],
        [2**60, None, None, None, None, None, "", None, [], None],
        [None, "-2.00", "0001-01-01", None, None, None, None, "", None, False],
    ]


def test_empty_result(server, rpc_client, tmp_path):
    """A result without rows keeps its columns, as JSON and in files."""
    server.respond(SESSION, DATASET, arrow_reply(stream(FLAT.slice(0, 0))))
    assert [column["name"] for column in execute(rpc_client)["columns"]] == FLAT.column_names
    server.respond(*2 * [DATASET, arrow_reply(stream(FLAT.slice(0, 0)))])
    export(rpc_client, path := tmp_path / "a.parquet")
    assert pq.read_table(path).schema.names == FLAT.column_names
    export(rpc_client, tmp_path / "a.json", "application/json")
    assert json.loads((tmp_path / "a.json").read_text()) == []


def test_files(server, rpc_client, tmp_path):
    """All batches are written, with their types."""
    server.respond(SESSION, DATASET, arrow_reply(stream(FLAT, batches=3)))
    size = export(rpc_client, path := tmp_path / "a.parquet")
    assert size == path.stat().st_size
    table = pq.read_table(path)
    assert table.num_rows == 9
    assert str(table.to_pylist()) == str(3 * FLAT.to_pylist())
    server.respond(DATASET, arrow_reply(stream(FLAT, batches=2)))
    export(rpc_client, path := tmp_path / "a.csv", "text/csv")
    assert pc.read_csv(path).num_rows == 6
    server.respond(DATASET, arrow_reply(stream(TABLE)))
    export(rpc_client, path := tmp_path / "a.json", "application/json")
    rows = json.loads(path.read_text())
    assert [row["name"] for row in rows] == ["Müller", "", None]


def test_session_that_ends_in_between(server, rpc_client, tmp_path):
    """A session that ends between the lookup and the query is renewed, and the query is sent once more."""
    ended = failure(401, "UNAUTHORIZED")
    server.respond(SESSION, DATASET, ended, SESSION, arrow_reply(stream(FLAT)))
    export(rpc_client, path := tmp_path / "a.parquet")
    assert pq.read_table(path).num_rows == 3
    assert [request.path for request in server.requests].count("/api/query") == 2


def test_columns_with_one_name(server, rpc_client, tmp_path):
    """JSON cannot hold two columns of one name; none is lost silently."""
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    server.respond(SESSION, DATASET, arrow_reply(stream(twice)))
    with pytest.raises(PolyteiaError, match="several columns 'a'"):
        export(rpc_client, tmp_path / "a.json", "application/json")


INFINITY = pa.table({"until": pa.array([2**31 - 1], pa.int32()).cast(pa.date32())})
LATE = pa.table({"until": pa.array([253402300799000000], pa.timestamp("us", "Etc/GMT-1"))})


@pytest.mark.parametrize("kind", ["text/csv", "application/json"])
def test_infinity(server, rpc_client, tmp_path, kind):
    """A date without a text is not replaced by a placeholder; the exception names the column."""
    server.respond(SESSION, DATASET, arrow_reply(stream(INFINITY)))
    with pytest.raises(PolyteiaError, match="'until' contains a value that cannot be represented"):
        export(rpc_client, tmp_path / "a", kind)
    assert list(tmp_path.iterdir()) == []


def test_year_10000_in_local_time(server, rpc_client):
    """The last second of the year 9999 is a value, also in a time zone where it is the year 10000."""
    server.respond(SESSION, DATASET, arrow_reply(stream(LATE)))
    assert execute(rpc_client)["rows"][0][0].startswith(("9999-12-31", "10000-01-01"))


@pytest.mark.parametrize("kind", [None, "application/json"])
def test_text_that_is_not_utf8(server, rpc_client, tmp_path, kind):
    """Invalid text in a column is an exception of this provider, which names the column."""
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\x00\x00\x00\x00\x01\x00\x00\x00"), pa.py_buffer(b"\xff"))
    server.respond(SESSION, DATASET, arrow_reply(stream(pa.table({"street": broken}))))
    with pytest.raises(PolyteiaError, match="'street' contains a value that cannot be represented"):
        execute(rpc_client) if kind is None else export(rpc_client, tmp_path / "a", kind)
    assert list(tmp_path.iterdir()) == []


def test_type_that_the_format_cannot_hold(server, make_client, tmp_path):
    """The exception names the columns and their types, and the query is sent once."""
    interval = pa.table({"i": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    server.respond(SESSION, DATASET, arrow_reply(stream(interval)))
    with pytest.raises(PolyteiaError, match="i month_day_nano_interval"):
        export(make_client(api="rpc", organization_id="org_1"), tmp_path / "a.parquet")
    assert [request.path for request in server.requests].count("/api/query") == 1


@pytest.mark.parametrize("value", [Decimal(1), float("nan"), "\ud800", b"x"])
def test_arguments_that_json_cannot_represent(server, rpc_client, value):
    """The exception names the argument; nothing is sent."""
    with pytest.raises(PolyteiaConfigurationError, match=r"args\[0\]"):
        execute(rpc_client, Query("SELECT ?", ["ds_1"], [value]))
    assert server.requests == []


def test_lookup_that_fails(server, make_client):
    """If the solution cannot be looked up, the statement was not sent, and is retried whatever it does."""
    server.respond(SESSION, status(503, b""), DATASET, arrow_reply(stream(FLAT)))
    assert execute(make_client(api="rpc", organization_id="org_1"), idempotent=False)["rows"]


def test_nested_values_in_csv(server, rpc_client, tmp_path):
    """CSV cannot hold lists; the exception names the column."""
    server.respond(SESSION, DATASET, arrow_reply(stream(TABLE)))
    with pytest.raises(PolyteiaError, match="'tags' holds lists or objects"):
        export(rpc_client, tmp_path / "a.csv", "text/csv")


@pytest.mark.parametrize("cut", [4, 300, -8, -1])
def test_lost_end(server, rpc_client, tmp_path, cut):
    """If the connection ends before the announced length, no file is made from what arrived."""
    content = stream(TABLE)
    server.respond(SESSION, DATASET, arrow_reply(content[:cut], Content_Length=str(len(content)), Connection="close"))
    with pytest.raises(PolyteiaTransportError):
        export(rpc_client, tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [4, 300])
def test_truncated_stream(server, rpc_client, tmp_path, cut):
    """A response that is complete as such, and contains only a part of a stream, is not a result."""
    server.respond(SESSION, DATASET, arrow_reply(stream(TABLE)[:cut]), DATASET, arrow_reply(stream(TABLE)[:cut]))
    with pytest.raises(PolyteiaTransportError, match="cannot be read"):
        export(rpc_client, tmp_path / "a.parquet")
    with pytest.raises(PolyteiaTransportError, match="cannot be read"):
        execute(rpc_client)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html></html>", content_type="text/html"),
        Reply(200, b'{"columns": [], "rows": []}'),
        Reply(200, b""),
        arrow_reply(b"ARROW1 is the file format"),
    ],
)
def test_not_an_arrow_stream(server, rpc_client, tmp_path, reply):
    """Anything else is a protocol error, for results and for files."""
    server.respond(SESSION, DATASET, reply, DATASET, reply)
    with pytest.raises(PolyteiaError, match=r"not an Arrow stream|an HTML page"):
        execute(rpc_client)
    with pytest.raises(PolyteiaError, match=r"not an Arrow stream|an HTML page"):
        export(rpc_client, tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


def test_rejected_statement(server, rpc_client):
    """An error of the platform is shown with its own text."""
    server.respond(SESSION, DATASET, status(400, b'{"error": "no such column", "code": "query.invalid"}'))
    with pytest.raises(PolyteiaBadRequestError, match="no such column"):
        execute(rpc_client)


def test_statement_that_may_write(server, rpc_client):
    """A statement that may change something is not sent twice."""
    server.respond(SESSION, DATASET, status(502, b""))
    with pytest.raises(PolyteiaOutcomeUnknownError):
        execute(rpc_client, idempotent=False)
    assert [request.path for request in server.requests].count("/api/query") == 1


def test_arguments(server, rpc_client, tmp_path, monkeypatch):
    """What can be checked is checked before anything is sent: datasets, format, pyarrow."""
    with pytest.raises(PolyteiaConfigurationError, match="at least one dataset"):
        execute(rpc_client, Query("SELECT 1", []))
    with pytest.raises(PolyteiaConfigurationError, match="the result of a query can be written as"):
        export(rpc_client, tmp_path / "a.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
    monkeypatch.setattr(arrow, "find_spec", lambda _: None)
    with pytest.raises(PolyteiaConfigurationError, match="airflow-provider-polyteia"):
        execute(rpc_client)
    assert server.requests == []
