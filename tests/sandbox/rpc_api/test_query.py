"""SQL on datasets with results in Arrow's IPC format."""

from __future__ import annotations

import pyarrow as pa
import pytest

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID

CSV = b"id,amount\n1,10.5\n2,20.0\n"


def rows(response):
    assert response.status_code == 200, response.text
    assert response.content[:4] == b"\xff\xff\xff\xff"
    return pa.ipc.open_stream(response.content).read_all().to_pylist()


@pytest.fixture
def dataset(rpc, sandbox):
    """The id of a dataset with two rows."""
    made = rpc.new_dataset()
    sandbox.upload(made, CSV)
    return made


@pytest.mark.parametrize("reference", ["'%s'", '"%s"'])
def test_a_query_references_datasets_by_quoted_id(reference, rpc, dataset):
    """Single and double quotes are accepted, and the result is a stream of Arrow record batches."""
    response = rpc.query(f"FROM {reference % dataset} SELECT count(*) AS n, sum(amount) AS s")
    assert rows(response) == [{"n": 2, "s": 30.5}]
    assert response.headers["Content-Type"] == "application/vnd.apache.arrow.stream"


def test_a_query_takes_arguments(rpc, dataset):
    """`?` and `$name` are replaced by arguments; using both is rejected."""
    assert rows(rpc.query(f"FROM '{dataset}' SELECT id WHERE amount > ?", args=[15])) == [{"id": 2}]
    assert rows(rpc.query(f"FROM '{dataset}' SELECT id WHERE amount > $low", named_args={"low": 15})) == [{"id": 2}]
    assert rpc.query("SELECT ?", args=[1], named_args={"a": 1}).status_code == 400


def test_a_query_reads_several_datasets_in_subqueries(rpc, dataset, sandbox):
    """References in joins, CTEs and subqueries are found."""
    other = rpc.new_dataset("other")
    sandbox.upload(other, b"id\n2\n3\n")
    highest = f'(FROM "{dataset}" SELECT max(amount))'
    sql = f"WITH o AS (FROM '{other}') FROM o JOIN '{dataset}' d USING (id) SELECT o.id, {highest} AS m"
    assert rows(rpc.query(sql)) == [{"id": 2, "m": 20.0}]


def test_an_id_as_a_value_is_not_a_reference(rpc):
    """A dataset id in a condition does not have to exist."""
    assert rows(rpc.query("SELECT 'ds_0' AS id WHERE 'ds_0' <> 'ds_1'")) == [{"id": "ds_0"}]


def test_an_empty_result_has_a_schema(rpc, dataset):
    """Without rows, the stream still contains the columns."""
    response = rpc.query(f"FROM '{dataset}' WHERE false")
    assert pa.ipc.open_stream(response.content).schema.names == ["id", "amount"]
    assert rows(response) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT nope FROM '{}'",
        "FROM {}",
        "FROM '{{{{{}}}}}'",
        "SELECT 1; SELECT 2",
        "CREATE TABLE t AS FROM '{}'",
        "COPY (FROM '{}') TO '/tmp/polyteia-sandbox-test.csv'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SET enable_external_access = true",
        "SELECT FROM WHERE",
    ],
)
def test_invalid_statements_are_rejected(sql, rpc, dataset, sandbox):
    """Errors have the form of the REST paths, without local paths. Braces are not references in this API."""
    response = rpc.query(sql.format(dataset))
    assert response.status_code == 400
    assert response.json().keys() == {"error", "code"}
    assert response.json()["code"] == "request.invalid"
    assert str(sandbox.platform.files.root) not in response.text


def test_unknown_datasets_and_solutions_are_missing(rpc, dataset):
    """Unknown ids result in HTTP 404, and a dataset without data in HTTP 400."""
    assert rpc.query("FROM 'ds_0'").json() == {"error": "dataset not found", "code": "resource.not-found"}
    assert rpc.query(f"FROM '{dataset}'", "sol_0").status_code == 404
    assert rpc.query(f"FROM '{rpc.new_dataset('empty')}'").status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"query": "SELECT 1"},
        {"query": "SELECT 1", "solution_id": ""},
        {"query": 1, "solution_id": SANDBOX_SOLUTION_ID},
        {"query": "SELECT 1", "solution_id": SANDBOX_SOLUTION_ID, "args": {}},
        {"json": {"query": "SELECT 1", "solution_id": SANDBOX_SOLUTION_ID}},
    ],
)
def test_invalid_bodies(body, rpc):
    """The body is an object in snake_case without an envelope; query and solution_id are required."""
    response = rpc.send("POST", "/api/query", json=body)
    assert (response.status_code, response.json()["code"]) == (400, "request.invalid")


def test_the_content_type_must_be_json(rpc):
    """Another content type is rejected."""
    response = rpc.send("POST", "/api/query", data=b"{}", headers={"Content-Type": "text/plain"})
    assert response.status_code == 400
    assert "content type" in response.json()["error"]
