"""Loads that are only checked: what is asked, what is reported, and that nothing is changed."""

from __future__ import annotations

import json
import sqlite3
import time

import pytest
from airflow.providers.common.compat.sdk import Asset
from conftest import outlet_events
from kills import run_until_killed

from airflow_provider_polyteia.exceptions import (
    PolyteiaAuthenticationError,
    PolyteiaConfigurationError,
    PolyteiaConflictError,
    PolyteiaDataError,
    PolyteiaError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
    PolyteiaPreconditionError,
    PolyteiaServerError,
)
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.tables.from_database import describe_query
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator
from airflow_provider_polyteia.transfers.sql_table_to_polyteia import SqlTableToPolyteiaOperator
from airflow_provider_polyteia.transfers.sql_to_polyteia import SqlToPolyteiaOperator

pytestmark = pytest.mark.slow  # many loads

READER = "pak_reader"
EXCHANGE = "auth/personalAccessKey/exchange"
ALLOWED = {
    "command": {"get_dataset", "get_solution", "list_resources"},
    "rpc": {
        EXCHANGE,
        "dataset/getDatasetById",
        "dataset/getDatasetBySolutionSlug",
        "dataset/getDatasetIngestStatus",
        "dpa/getMyAcceptanceStatus",
        "permission/checkPermission",
        "solution/getSolutionById",
    },
}
BOOKINGS = "SELECT * FROM bookings"
COLUMNS = {"id": "int64", "amount": "double", "name": "string"}
NUMBERS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000)"


@pytest.fixture(params=["command", "rpc"])
def api(request):
    """The name of the API."""
    return request.param


@pytest.fixture
def start(connect):
    """Start a sandbox, which the connection `polyteia_default` points to, with a dataset `a`."""
    running = []

    def begin(api, key=None, **options):
        sandbox = Sandbox(api=api, read_only_paks=[READER], **options).start()
        running.append(sandbox)
        create_dataset(sandbox)
        extra = {**json.loads(sandbox.airflow_connection())["extra"], "max_wait": 0.01}
        connect(host=sandbox.base_url, password=key or sandbox.pak, extra=extra)
        return sandbox

    yield begin
    for sandbox in running:
        sandbox.stop()


def create_dataset(sandbox):
    fields = {"name": "A", "slug": "a", "description": "", "source": "", "documentation": {}}
    if sandbox.options.api == "rpc":
        (solution,) = [each for each in sandbox.records("solution") if each["id"] == SANDBOX_SOLUTION_ID]
        scope = {"solutionId": SANDBOX_SOLUTION_ID, "organizationId": solution["organization_id"]}
        dataset = sandbox.call("dataset/createDataset", {**fields, **scope})
    else:
        dataset = sandbox.call("create_dataset", {**fields, "solution_id": SANDBOX_SOLUTION_ID})
    sandbox.upload(dataset["id"], b"id,name\n1,Before\n")


@pytest.fixture
def platform_of(api, start):
    """A sandbox of either API."""
    return start(api)


@pytest.fixture
def city(tmp_path, monkeypatch):
    """The Airflow connection `city` to a database of bookings."""
    path = tmp_path / "city.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE bookings (id INTEGER, amount REAL, name TEXT)")
        database.executemany("INSERT INTO bookings VALUES (?, ?, ?)", [(i, i / 4, "Müller") for i in range(10)])
    monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


class Task:
    """What operators use of a task instance; remembers the last result."""

    map_index = 0

    def __init__(self, last=None):
        self.last = last

    def xcom_pull(self, **_):
        return self.last

    def xcom_push(self, **_):
        pass


def id_of(sandbox):
    return sandbox.datasets[0]["id"]


def check(dataset_id, sql=BOOKINGS, **arguments):
    defaults = {"conn_id": "city", "check_only": True}
    return SqlToPolyteiaOperator(task_id="load", sql=sql, dataset_id=dataset_id, **{**defaults, **arguments})


def check_table(slug="a", table="bookings", **arguments):
    return SqlTableToPolyteiaOperator(
        task_id="load",
        conn_id="city",
        table=table,
        slug=slug,
        **{"check_only": True, "solution_id": SANDBOX_SOLUTION_ID, **arguments},
    )


def run(sandbox, task, context=None):
    """Run a check; nothing but reading requests is sent, and all datasets stay as they are."""
    sandbox.recorder.clear()
    before = sandbox.datasets, sandbox.records("solution")
    try:
        return task.execute(context or {})
    finally:
        assert (sandbox.datasets, sandbox.records("solution")) == before
        assert {request.name for request in sandbox.requests} <= ALLOWED[sandbox.options.api]


def expected(task, sandbox, **others):
    known = sandbox.options.api == "rpc"
    values = {
        "check_only": True,
        "dataset_id": id_of(sandbox),
        "dataset": "exists",
        "columns": COLUMNS,
        "may_upload": True,
        "terms_acknowledged": True if known else None,
        "last_load": None,
        "source_conn_id": "city",
    }
    return task.xcom_value({**values, **others})


def test_query(platform_of, city, caplog):
    """The columns are read, the dataset is found, and what the API does not show is not known."""
    caplog.set_level("INFO")
    task = check(id_of(platform_of), source_timestamp="2026-03-01", wait_for_upload=True, verify=True, deferrable=True)
    assert run(platform_of, task) == expected(task, platform_of)
    assert "nothing was changed" in caplog.text
    assert "Columns: id (int64), amount (double), name (string)" in caplog.text
    assert f"Dataset {id_of(platform_of)!r} exists. The account may replace its data: yes" in caplog.text
    terms = "yes" if platform_of.options.api == "rpc" else "not known"
    assert f"The data-processing terms are acknowledged: {terms}" in caplog.text


def test_types_of_values(platform_of, city, caplog):
    """A type that only the values show is not guessed; it is that of the last load, if there was one."""
    caplog.set_level("INFO")
    sql = "SELECT id + 1 AS n, name || '' AS text, id / 0.1 AS d FROM bookings"
    result = run(platform_of, check(id_of(platform_of), sql))
    assert result["columns"] == {"n": "null", "text": "null", "d": "null"}
    assert "n (depends on the values)" in caplog.text
    last = {"n": "int64", "text": "string", "d": "decimal128(38, 2)"}
    assert describe_query("city", sql, last=last) == last


def test_declared_types_and_parameters(city):
    """Types can be declared as for a load, and a query may have parameters."""
    sql = "SELECT id AS i, amount FROM bookings WHERE id > ?"
    assert describe_query("city", sql, [3], columns={"amount": "DECIMAL(12,2)"}) == {
        "i": "int64",
        "amount": "decimal128(12, 2)",
    }


@pytest.mark.parametrize("dialect", [1, 2])
def test_missing_table(start, city, api, caplog, dialect):
    """A dataset that does not exist yet is not created; the solution was found."""
    caplog.set_level("INFO")
    sandbox = start(api, rpc_dialect=dialect)
    task, known = check_table("new"), True if api == "rpc" else None
    described = {"dataset_id": None, "dataset": "missing", "may_upload": known, "slug": "new", "table": "bookings"}
    assert run(sandbox, task) == expected(task, sandbox, **described)
    may_create = "yes" if known else "not known"
    assert f"Dataset 'new' does not exist. The account may create it: {may_create}" in caplog.text


def test_existing_table(platform_of, city):
    """A dataset that exists is found by its slug, and is an error if a task must create it."""
    task = check_table()
    assert run(platform_of, task) == expected(task, platform_of, slug="a", table="bookings")
    with pytest.raises(PolyteiaConflictError, match=f"'a' is already used by dataset '{id_of(platform_of)}'"):
        run(platform_of, check_table(if_exists="fail"))
    assert run(platform_of, check_table("new", if_exists="fail"))["dataset"] == "missing"


@pytest.mark.parametrize("convert", [False, True])
def test_file(platform_of, csv_file, convert):
    """A file is checked or converted, and compared with the limits of a load."""
    arguments = {"source": str(csv_file), "dataset_id": id_of(platform_of), "convert": convert, "check_only": True}
    task = FileToPolyteiaOperator(task_id="load", **arguments)
    result = run(platform_of, task)
    assert result["columns"] == ({"id": "int64", "name": "string"} if convert else {})
    assert (result["dataset"], result["may_upload"], result["source"]) == ("exists", True, str(csv_file))
    if convert:
        with pytest.raises(PolyteiaDataError, match="'min_rows' is 150,001"):
            run(platform_of, FileToPolyteiaOperator(task_id="load", min_rows=150_001, **arguments))
    csv_file.write_text("<html></html>")
    with pytest.raises(PolyteiaDataError):
        run(platform_of, FileToPolyteiaOperator(task_id="load", **arguments))


def test_unknown_dataset(platform_of, city):
    """An unknown dataset or solution is an error, as for a load."""
    with pytest.raises(PolyteiaNotFoundError):
        run(platform_of, check("ds_unknown"))
    with pytest.raises(PolyteiaNotFoundError):
        run(platform_of, check_table(solution_id="sol_unknown"))


def test_invalid_key(start, city, api):
    """An invalid key fails the task immediately, with one request."""
    sandbox = start(api, key="pak_invalid")
    with pytest.raises(PolyteiaAuthenticationError):
        run(sandbox, check(id_of(sandbox)))
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("http_403", [False, True])
def test_no_access(start, city, api, http_403):
    """A solution that the account may not see fails the task immediately."""
    sandbox = start(api, denied_solutions={"pak_denied": [SANDBOX_SOLUTION_ID]}, http_403=http_403, key="pak_denied")
    for task in (check(id_of(sandbox)), check_table("new")):
        with pytest.raises(PolyteiaPermissionError):
            run(sandbox, task)


def test_no_right_to_upload(start, city):
    """The RPC API shows that the account may not replace the data, or create a dataset."""
    sandbox = start("rpc", key=READER)
    with pytest.raises(PolyteiaPermissionError, match="does not have permission"):
        run(sandbox, check(id_of(sandbox)))
    with pytest.raises(PolyteiaPermissionError, match="may not create datasets in the solution") as caught:
        run(sandbox, check_table("new"))
    assert SANDBOX_SOLUTION_ID in str(caught.value)
    assert caught.value.not_applied


def test_right_to_upload_is_not_known(start, city):
    """On the command API, a dataset that is not listed as editable may be editable all the same."""
    sandbox = start("command", key=READER)
    task = check(id_of(sandbox))
    assert run(sandbox, task) == expected(task, sandbox, may_upload=None)


def test_dataset_on_a_later_page(start, city):
    """All pages of the list are read, if necessary."""
    sandbox = start("command")
    for number in range(150):
        slug = f"s{number}"
        sandbox.call("create_dataset", {"name": slug, "solution_id": SANDBOX_SOLUTION_ID, "slug": slug})
    last = sandbox.datasets[-1]["id"]
    assert run(sandbox, check(last))["may_upload"] is True
    assert sandbox.count("list_resources") == 2


@pytest.mark.parametrize(
    ("api", "fault"),
    [
        ("command", "list_resources:body-error:500"),
        ("command", "list_resources:body-error:400"),
        ("rpc", "dataset/getDatasetIngestStatus:body-error:400"),
        ("rpc", "dataset/getDatasetIngestStatus:status:404"),
    ],
)
def test_rejected_question(start, city, api, fault):
    """If the question itself is rejected, the right to upload is not known."""
    sandbox = start(api)
    sandbox.faults.add(fault)
    task = check(id_of(sandbox))
    assert run(sandbox, task) == expected(task, sandbox, may_upload=None)


@pytest.mark.parametrize("question", ["dpa/getMyAcceptanceStatus", "permission/checkPermission"])
def test_rejected_question_about_a_solution(start, city, question):
    """If the platform does not say whether terms are acknowledged or datasets may be created, that is not known."""
    sandbox = start("rpc")
    sandbox.faults.add(f"{question}:body-error:403")
    result = run(sandbox, check_table("new"))
    field = "terms_acknowledged" if question.startswith("dpa") else "may_upload"
    assert result.get(field) is None


def test_terms(start, city):
    """Terms that must be acknowledged first fail the task immediately, with advice."""
    sandbox = start("rpc", unacknowledged_solutions=[SANDBOX_SOLUTION_ID])
    for task in (check(id_of(sandbox)), check_table("new")):
        with pytest.raises(PolyteiaPreconditionError, match="must open the solution in Polyteia and acknowledge"):
            run(sandbox, task)


def test_transient_failure(platform_of, city):
    """Questions are retried as any other request."""
    platform_of.faults.add("*:drop-after:1")
    assert run(platform_of, check(id_of(platform_of)))["may_upload"] is True


def test_gateway_out_of_order(start, city):
    """An error of a gateway fails the task as it would fail a load."""
    sandbox = start("command")
    sandbox.faults.add("list_resources:status:503")
    with pytest.raises(PolyteiaServerError):
        run(sandbox, check(id_of(sandbox)))


@pytest.mark.parametrize("sql", ["SELECT nosuch FROM bookings", "UPDATE bookings SET id = 0", "SELECT 1; SELECT 2"])
def test_mistake_in_the_query(platform_of, city, sql):
    """A mistake in the query fails the task."""
    with pytest.raises(PolyteiaError):
        run(platform_of, check(id_of(platform_of), sql))
    with sqlite3.connect(city) as database:
        assert database.execute("SELECT sum(id) FROM bookings").fetchone() == (45,)


def test_mistakes_in_arguments(platform_of, city):
    """What a load rejects before it sends anything, a check rejects as well."""
    dataset_id = id_of(platform_of)
    with pytest.raises(PolyteiaConfigurationError, match="source_timestamp is 'yesterday'"):
        run(platform_of, check(dataset_id, source_timestamp="yesterday"))
    assert platform_of.requests == []
    with pytest.raises(PolyteiaConfigurationError, match="supports 'postgres' only"):
        run(platform_of, check(dataset_id, driver="duckdb"))
    with pytest.raises(PolyteiaConfigurationError, match="'nosuch'"):
        run(platform_of, check(dataset_id, conn_id="nosuch"))


def test_huge_table(platform_of, city):
    """The query ends when its types are known, not with its last row."""
    started = time.monotonic()
    result = run(platform_of, check(id_of(platform_of), f"{NUMBERS} SELECT i FROM n"))  # noqa: S608 - a constant
    assert list(result["columns"]) == ["i"]
    assert time.monotonic() - started < 10


def test_killed(start, city, kill):
    """A killed task stops a query that computes long before its first row."""
    sandbox = start("command")
    task = check(id_of(sandbox), f"{NUMBERS} SELECT count(*) AS number FROM n")  # noqa: S608 - a constant
    kill(task)
    assert run_until_killed(task) < 10


def test_changed_columns(platform_of, city):
    """Columns that have changed since the last load are found before the next one."""
    dataset_id = id_of(platform_of)
    last = {"dataset_id": dataset_id, "rows": 10, "bytes": 100, "columns": {**COLUMNS, "gone": "string"}}
    with pytest.raises(PolyteiaDataError, match="removed: 'gone'"):
        run(platform_of, check(dataset_id, on_schema_change="fail"), {"ti": Task(last)})


def test_not_taken_for_a_load(start, city):
    """The next load is compared with the last load, not with a check between them."""
    sandbox = start("command")
    dataset_id = id_of(sandbox)
    first = check(dataset_id, check_only=False).execute({"ti": Task()})
    context = {"ti": Task(first)}
    checked = run(sandbox, check(dataset_id), context)
    assert "bytes" not in checked
    assert checked["last_load"] == {"rows": 10, "bytes": first["bytes"], "columns": COLUMNS}
    again = run(sandbox, check(dataset_id), {"ti": Task(checked)})
    assert again == checked
    with pytest.raises(PolyteiaDataError, match="max_shrink"):
        check(dataset_id, f"{BOOKINGS} WHERE id = 1", check_only=False, max_shrink=0.5).execute({"ti": Task(again)})
    unloaded = run(sandbox, check(dataset_id), {"ti": Task()})
    assert check(dataset_id, check_only=False, max_shrink=0).execute({"ti": Task(unloaded)})["rows"] == 10


def test_no_events_and_no_lineage(platform_of, city):
    """A check is not reported as a write, neither to the consumers of assets nor to OpenLineage."""
    host = platform_of.base_url.removeprefix("http://")
    asset = Asset(f"polyteia://{host}/{id_of(platform_of)}")
    task = check(id_of(platform_of), outlets=[asset])
    assert task.outlets == []
    task.outlets.append(asset)
    events = outlet_events()
    run(platform_of, task, {"outlet_events": events})
    assert task.outlets == []
    assert not events[asset].extra
    assert task.get_openlineage_facets_on_complete(None) is None


def test_airflows_own_method(platform_of, city):
    """The method of Airflow that renders templates is not shadowed."""
    task = check(id_of(platform_of))
    assert task.dry_run() is None
    assert platform_of.count("get_dataset") == 0


def test_hook(platform_of):
    """The hook checks an upload by the id of a dataset, or by solution and slug."""
    dataset_id, known = id_of(platform_of), True if platform_of.options.api == "rpc" else None
    found = {"dataset_id": dataset_id, "may_upload": True, "terms_acknowledged": known}
    with PolyteiaHook() as hook:
        assert hook.check_upload(dataset_id) == found
        assert hook.check_upload(solution_id=SANDBOX_SOLUTION_ID, slug="a") == found
        with pytest.raises(PolyteiaConfigurationError):
            hook.check_upload()
