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


def test_unreadable_files_are_stored(api, sandbox, dataset):
    """Invalid Excel and Parquet files are stored without a row count, and SQL on them reports the cause."""
    for content_type in (EXCEL, PARQUET):
        response = api.upload(api.upload_token(dataset, content_type), b"PK\x03\x04")
        assert response.status_code == 200
        (stored,) = sandbox.datasets
        assert (stored["data"]["size"], stored["data"]["rows"]) == (4, None)
        assert stored["metadata"]["schema"]["columns"] == {}
        rejected = api.sql(f"FROM '{dataset}'", [dataset]).json()["error"]
        assert rejected["code"] == 400
        assert content_type in rejected["message"]
        assert str(sandbox.platform.files.root) not in rejected["message"]


@pytest.mark.parametrize("reference", ["'{{%s}}'", '"{{%s}}"', "'%s'", "%s", "{{ %s }}"])
def test_sql_can_reference_datasets_in_several_ways(reference, api, dataset):
    """A dataset can be referenced in braces and quotes, or by its id alone."""
    api.upload(api.upload_token(dataset), CSV)
    response = api.sql(f"FROM {reference % dataset} SELECT count(*) AS n", [dataset])
    assert response.json() == {"data": {"columns": [{"name": "n", "type": "BIGINT"}], "rows": [[2]]}}


def test_sql_takes_positional_and_named_arguments(api, dataset):
    """`?` and `$name` are replaced by arguments; using both is rejected."""
    api.upload(api.upload_token(dataset), CSV)
    positional = api.sql(f"FROM {dataset} SELECT amount WHERE amount > ?", [dataset], args=[100])
    named = api.sql(f"FROM {dataset} SELECT amount WHERE amount > $low", [dataset], named_args={"low": 100})
    assert positional.json()["data"]["rows"] == named.json()["data"]["rows"] == [[1234.5]]
    both = api.sql("SELECT ?", [], args=[1], named_args={"a": 1})
    assert both.json()["error"]["code"] == 400


def test_sql_values_are_serialized_without_loss(api):
    """Decimals become strings, times ISO strings, and NaN becomes null."""
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
def test_sql_can_access_only_the_listed_datasets(sql, how, api, dataset):
    """Files, network, settings, variables, other datasets and several statements are rejected with code 400."""
    api.upload(api.upload_token(dataset), CSV)
    # An empty statement is rejected when the export token is generated.
    exporting = how == "export" and sql
    if exporting:
        assert api.download(api.export_token(sql, [dataset])).status_code == 400
    else:
        assert api.sql(sql, [dataset]).json()["error"]["code"] == 400


def test_sql_needs_datasets_with_data(api, dataset):
    """A dataset without data results in 400, an unknown one in 404."""
    assert api.sql("SELECT 1", [dataset]).json()["error"]["code"] == 400
    assert api.sql("SELECT 1", ["ds_0"]).json()["error"]["code"] == 404


@pytest.mark.parametrize(
    ("mime", "content"),
    [("text/csv", b"id,name\n2,b\n"), ("application/json", b'[\n\t{"id":2,"name":"b"}\n]\n'), (PARQUET, None)],
)
def test_an_export_is_a_file_of_the_requested_format(mime, content, api, dataset):
    """The rows are exported as Parquet, CSV or JSON, with the correct length and type."""
    api.upload(api.upload_token(dataset, PARQUET), parquet(id=[1, 2], name=["a", "b"]))
    response = api.download(api.export_token(f"FROM '{{{{{dataset}}}}}' WHERE id > ?", [dataset], mime, args=[1]))
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith(mime)
    assert int(response.headers["Content-Length"]) == len(response.content)
    if content is None:
        assert pq.read_table(io.BytesIO(response.content)).to_pylist() == [{"id": 2, "name": "b"}]
    else:
        assert response.content == content


def test_unsupported_export_formats_are_rejected(api, dataset):
    """A format that the sandbox cannot write is rejected when the token is generated."""
    api.upload(api.upload_token(dataset), CSV)
    params = {"sql": "SELECT 1", "datasets": [dataset], "args": [], "format": EXCEL}
    assert api.command("generate_query_export_token", **params).json()["error"]["code"] == 400
