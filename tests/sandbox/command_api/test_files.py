"""Files in and out: uploads, exports, SQL, and that SQL reaches nothing but the datasets named."""

from __future__ import annotations

import hashlib
import io
import time
from datetime import UTC, datetime

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


def multipart(content, *, boundary=b"b1", name=b"file", end=b"--\r\n"):
    head = b'Content-Disposition: form-data; name="%b"; filename="f"\r\nContent-Type: text/csv' % name
    return b"--%b\r\n%b\r\n\r\n%b\r\n--%b%b" % (boundary, head, content, boundary, end)


def send_multipart(api, token, body, content_type="multipart/form-data; boundary=b1"):
    headers = {"X-Upload-Token": token, "Content-Type": content_type}
    return api.send("POST", "/upload", data=body, headers=headers)


@pytest.fixture
def dataset(api):
    return api.new_dataset()


def test_an_upload_becomes_the_datasets_data(api, sandbox, dataset):
    """The bytes are stored as sent, and the record tells type, size, time and columns."""
    before = datetime.now(UTC)
    answer = api.upload(api.upload_token(dataset), CSV)
    assert answer.status_code == 200
    (stored,) = sandbox.datasets
    assert stored["data"]["sha256"] == hashlib.sha256(CSV).hexdigest()
    assert stored["data"]["rows"] == 2
    info = stored["metadata"]["asset_info"]
    assert (info["content_type"], info["size"]) == ("text/csv", len(CSV))
    assert before <= datetime.fromisoformat(info["uploaded_at"]) <= datetime.now(UTC)
    columns = stored["metadata"]["schema"]["columns"]
    kinds = {name: column["canonical_type"] for name, column in columns.items()}
    assert kinds == {"day": "date", "amount": "number", "note": "text"}


def test_an_upload_replaces_what_was_there(api, sandbox, dataset):
    """A second upload leaves nothing of the first, neither rows nor columns nor its file."""
    api.upload(api.upload_token(dataset), CSV)
    api.upload(api.upload_token(dataset), b"x\n1\n")
    assert sandbox.content(dataset) == b"x\n1\n"
    assert list(sandbox.datasets[0]["metadata"]["schema"]["columns"]) == ["x"]
    assert len(list((sandbox.platform.files.root / "files").iterdir())) == 1


def test_an_upload_token_is_good_once(api, dataset, sandbox):
    """A used, unknown or missing upload token is refused, and changes nothing."""
    token = api.upload_token(dataset)
    assert api.upload(token, CSV).status_code == 200
    assert api.upload(token, b"other").status_code == 401
    assert api.upload("unknown", b"other").status_code == 401
    assert api.send("POST", "/upload", files={"file": b"other"}).status_code == 401
    assert sandbox.content(dataset) == CSV


@pytest.mark.parametrize(("credential", "status"), [(None, 200), ("wrong", 401)])
def test_authorization_of_an_upload_may_be_left_out_but_not_be_wrong(
    credential, status, api, sandbox, connect, dataset
):
    """The upload token is enough, as one of the vendor's clients has it; a wrong key beside it is not accepted."""
    answer = connect(sandbox, credential).upload(api.upload_token(dataset), CSV)
    assert answer.status_code == status


def test_an_upload_needs_a_known_length(api, dataset, sandbox):
    """Chunked transfer encoding is refused with 411."""
    answer = send_multipart(api, api.upload_token(dataset), iter([multipart(CSV)]))
    assert answer.status_code == 411
    assert "data" in sandbox.datasets[0]
    assert sandbox.datasets[0]["data"] is None


@pytest.mark.parametrize(
    "content",
    [b"", b"\r\n", b"--b1", b"\r\n--b", b"\r\n--b1x"[:5], b"a\r\n\r\nb\r\n", b"\r\n-" * 5000, b"x" * 3_000_000],
    ids=lambda content: f"{content[:8]!r}x{len(content)}",
)
def test_content_comes_through_whatever_it_holds(content, api, sandbox, dataset):
    """Content that looks like parts of a delimiter, or is empty or long, is stored byte by byte."""
    assert send_multipart(api, api.upload_token(dataset), multipart(content)).status_code == 200
    assert sandbox.content(dataset) == content


def test_a_body_may_arrive_byte_by_byte(api, sandbox, dataset):
    """Where the network cuts the body does not matter."""
    token = api.upload_token(dataset)
    body = multipart(b"ab\r\n--b\r\ncd")

    class Trickle:
        def __len__(self):
            return len(body)

        def __iter__(self):
            return (bytes([byte]) for byte in body)

    assert send_multipart(api, token, Trickle()).status_code == 200
    assert sandbox.content(dataset) == b"ab\r\n--b\r\ncd"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (multipart(CSV, name=b"data"), "multipart/form-data; boundary=b1"),
        (multipart(CSV, end=b"\r\n"), "multipart/form-data; boundary=b1"),
        (multipart(CSV, end=b""), "multipart/form-data; boundary=b1"),
        (multipart(CSV)[:-20], "multipart/form-data; boundary=b1"),
        (multipart(CSV, end=b"") + b"\r\n" + multipart(CSV)[6:], "multipart/form-data; boundary=b1"),
        (multipart(CSV, boundary=b"b2"), "multipart/form-data; boundary=b1"),
        (b"", "multipart/form-data; boundary=b1"),
        (CSV, "text/csv"),
        (multipart(CSV), "multipart/form-data"),
    ],
    ids=["name", "open", "cut", "cut content", "two parts", "boundary", "empty", "no multipart", "no boundary"],
)
def test_a_malformed_upload_changes_nothing(body, content_type, api, sandbox, dataset):
    """A body that is not exactly one complete part `file` is refused, and the data stays as it was."""
    api.upload(api.upload_token(dataset), CSV)
    answer = send_multipart(api, api.upload_token(dataset), body, content_type)
    assert answer.json()["error"]["code"] == 400
    assert sandbox.content(dataset) == CSV
    assert list((sandbox.platform.files.root / "work").iterdir()) == []


def test_a_dataset_deleted_before_its_upload_is_404(api, dataset):
    """An upload for a dataset that is gone says so."""
    token = api.upload_token(dataset)
    api.data("command", "delete_dataset", id=dataset)
    assert api.upload(token, CSV).json()["error"]["code"] == 404


def test_the_ingest_can_take_its_time(start, connect):
    """With an ingest delay `/upload` returns before the data is there."""
    sandbox = start(ingest_delay=0.3)
    api = connect(sandbox)
    dataset = api.new_dataset()
    api.upload(api.upload_token(dataset), CSV)
    assert "metadata" not in api.data("query", "get_dataset", id=dataset)
    deadline = time.monotonic() + 5
    while "metadata" not in api.data("query", "get_dataset", id=dataset):
        assert time.monotonic() < deadline
    assert sandbox.content(dataset) == CSV


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


def test_an_export_token_is_good_once(api, dataset):
    """A used or unknown export token answers JSON instead of a file, with HTTP 200."""
    api.upload(api.upload_token(dataset), CSV)
    token = api.export_token(f"FROM {dataset}", [dataset])
    assert api.download(token).content.startswith(b"PAR1")
    for wrong in (token, "unknown", ""):
        answer = api.download(wrong)
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, 404)


def test_an_export_keeps_the_data_of_its_moment(api, dataset, sandbox):
    """A file in use stays readable while an upload replaces it."""
    api.upload(api.upload_token(dataset), CSV)
    asset = sandbox.platform.store.get("asset", dataset)
    with sandbox.platform.readable([asset]) as files:
        api.upload(api.upload_token(dataset), b"x\n1\n")
        path, content_type = files[dataset]
        assert path.read_bytes() == CSV
        assert content_type == "text/csv"


def test_unknown_export_formats_are_refused(api, dataset):
    """A format the sandbox cannot write is refused when the token is asked for."""
    api.upload(api.upload_token(dataset), CSV)
    params = {"sql": "SELECT 1", "datasets": [dataset], "args": [], "format": EXCEL}
    assert api.command("generate_query_export_token", **params).json()["error"]["code"] == 400
