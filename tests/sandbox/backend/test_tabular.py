"""SQL and exports over the stored files, and their isolation."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PARQUET = "application/vnd.apache.parquet"


EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


CSV = b"day,amount,note\n2026-01-01,1234.50,K\xc3\xa4mmerei\n2026-01-02,99.10,\n"


def parquet(**columns):
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def test_files_nobody_can_read_are_stored_all_the_same(api, sandbox, dataset):
    """Excel and broken Parquet are kept; their rows are not known, and SQL on them says why."""
    for content_type in (EXCEL, PARQUET):
        answer = api.upload(api.upload_token(dataset, content_type), b"PK\x03\x04")
        assert answer.status_code == 200
        (stored,) = sandbox.datasets
        assert (stored["data"]["size"], stored["data"]["rows"]) == (4, None)
        assert stored["metadata"]["schema"]["columns"] == {}
        refused = api.sql(f"FROM '{dataset}'", [dataset]).json()["error"]
        assert refused["code"] == 400
        assert content_type in refused["message"]
        assert str(sandbox.platform.files.root) not in refused["message"]


@pytest.mark.parametrize("reference", ["'{{%s}}'", '"{{%s}}"', "'%s'", "%s", "{{ %s }}"])
def test_sql_names_datasets_in_several_ways(reference, api, dataset):
    """A dataset can be written in braces and quotes, or as its bare id."""
    api.upload(api.upload_token(dataset), CSV)
    answer = api.sql(f"FROM {reference % dataset} SELECT count(*) AS n", [dataset])
    assert answer.json() == {"data": {"columns": [{"name": "n", "type": "BIGINT"}], "rows": [[2]]}}


def test_sql_takes_positional_and_named_arguments(api, dataset):
    """`?` and `$name` stand for arguments; both at once are refused."""
    api.upload(api.upload_token(dataset), CSV)
    positional = api.sql(f"FROM {dataset} SELECT amount WHERE amount > ?", [dataset], args=[100])
    named = api.sql(f"FROM {dataset} SELECT amount WHERE amount > $low", [dataset], named_args={"low": 100})
    assert positional.json()["data"]["rows"] == named.json()["data"]["rows"] == [[1234.5]]
    both = api.sql("SELECT ?", [], args=[1], named_args={"a": 1})
    assert both.json()["error"]["code"] == 400


def test_sql_values_survive_json(api):
    """Every kind of value comes as JSON that loses nothing: decimals as text, times in ISO form, NaN as null."""
    sql = (
        "SELECT 1::HUGEINT AS i, 1.50::DECIMAL(9,2) AS d, 'nan'::DOUBLE AS f, DATE '2026-01-31' AS day,"
        " TIMESTAMPTZ '2026-01-31 10:00:00+01' AS at, 'x'::BLOB AS b, [1, NULL] AS l, {'k': 'ü'} AS s,"
        " NULL AS n, true AS t, 1 AS i"
    )
    (row,) = api.sql(sql, []).json()["data"]["rows"]
    expected = [1, "1.50", None, "2026-01-31", "2026-01-31T09:00:00+00:00", "eA==", [1, None], {"k": "ü"}]
    assert row == [*expected, None, True, 1]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')",
        "COPY (SELECT 1) TO '/tmp/polyteia-sandbox-test.csv'",
        "SET enable_external_access = true",
        "ATTACH '/tmp/polyteia-sandbox-test.db'",
        "INSTALL httpfs",
        "CREATE TABLE t AS SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT FROM WHERE",
        "FROM connection",
        "FROM ds_00000000000000000000",
        "FROM '{{ds_00000000000000000000}}'",
        "",
    ],
)
@pytest.mark.parametrize("how", ["execute", "export"])
def test_sql_reaches_nothing_but_the_datasets_named(sql, how, api, dataset):
    """Files, network, settings, variables, other datasets, several statements: all refused with code 400."""
    api.upload(api.upload_token(dataset), CSV)
    # An empty statement is refused before there is an export token.
    exporting = how == "export" and sql
    answer = api.download(api.export_token(sql, [dataset])) if exporting else api.sql(sql, [dataset])
    assert answer.json()["error"]["code"] == 400


def test_sql_needs_datasets_that_are_there(api, dataset):
    """A dataset without data is 400, an unknown one 404."""
    assert api.sql("SELECT 1", [dataset]).json()["error"]["code"] == 400
    assert api.sql("SELECT 1", ["ds_0"]).json()["error"]["code"] == 404


@pytest.mark.parametrize(
    ("mime", "content"),
    [("text/csv", b"id,name\n2,b\n"), ("application/json", b'[\n\t{"id":2,"name":"b"}\n]\n'), (PARQUET, None)],
)
def test_an_export_is_a_file_of_the_wanted_format(mime, content, api, dataset):
    """The rows come as Parquet, CSV or JSON, with the right length and type."""
    api.upload(api.upload_token(dataset, PARQUET), parquet(id=[1, 2], name=["a", "b"]))
    answer = api.download(api.export_token(f"FROM '{{{{{dataset}}}}}' WHERE id > ?", [dataset], mime, args=[1]))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(mime)
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    if content is None:
        assert pq.read_table(io.BytesIO(answer.content)).to_pylist() == [{"id": 2, "name": "b"}]
    else:
        assert answer.content == content


def test_unknown_export_formats_are_refused(api, dataset):
    """A format the sandbox cannot write is refused when the token is asked for."""
    api.upload(api.upload_token(dataset), CSV)
    params = {"sql": "SELECT 1", "datasets": [dataset], "args": [], "format": EXCEL}
    assert api.command("generate_query_export_token", **params).json()["error"]["code"] == 400
