"""Every operation on both APIs, over real sockets: the same calls, the same results, the same exceptions."""

from __future__ import annotations

import itertools
import json

import pytest

from airflow_provider_polyteia.client import ingest
from airflow_provider_polyteia.client.rpc_api import probe, sessions
from airflow_provider_polyteia.exceptions import (
    PolyteiaAuthenticationError,
    PolyteiaConfigurationError,
    PolyteiaConflictError,
    PolyteiaError,
    PolyteiaIngestError,
    PolyteiaNotFoundError,
    PolyteiaOutcomeUnknownError,
    PolyteiaPermissionError,
    PolyteiaPreconditionError,
)
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID, Sandbox

CSV = b"id,name\n1,Before\n2,After\n"
OTHER_SOLUTION = "sol_doesnotexist00000001"
NAMES = {
    "command": {
        "create": "create_dataset",
        "get": "get_dataset",
        "list": "list_datasets",
        "update": "update_dataset",
        "delete": "delete_dataset",
        "upload": "/upload",
    },
    "rpc": {
        "create": "dataset/createDataset",
        "get": "dataset/getDatasetById",
        "list": "dataset/listDatasets",
        "update": "dataset/updateDataset",
        "delete": "dataset/deleteDataset",
        "upload": "/api/upload/dataset",
    },
}
EXCHANGE = "auth/personalAccessKey/exchange"
MAIN_FIELDS = {"id", "organization_id", "solution_id", "name", "slug", "description", "source", "documentation"}
serial = itertools.count()
on_the_rpc_api = pytest.mark.parametrize("platform", ["rpc"], indirect=True)


@pytest.fixture(autouse=True)
def _separate_processes():
    """Sessions and detected APIs are kept per process; each test begins without any."""
    sessions._sessions.clear()
    probe._hosts_with_rpc_api.clear()
    probe._hosts_without.clear()


@pytest.fixture(scope="module", params=["command", "rpc"])
def platform(request):
    """One sandbox per API for all tests; each test uses its own dataset."""
    with Sandbox(api=request.param) as running:
        yield running


@pytest.fixture
def sandbox(platform):
    """The platform without faults and recorded requests."""
    platform.faults.clear()
    platform.recorder.clear()
    yield platform
    platform.faults.clear()


@pytest.fixture
def make_hook(sandbox, connect):
    """Create hooks of the sandbox, without long waits; other contents of the connection may be given."""
    hooks = []

    def make(key=None, **extra):
        given = json.loads(sandbox.airflow_connection(key))
        extra = {name: value for name, value in {**given["extra"], "max_wait": 0.01, **extra}.items() if value}
        connect("city", host=given["host"], password=given["password"], extra=extra)
        hooks.append(PolyteiaHook("city"))
        return hooks[-1]

    yield make
    for hook in hooks:
        hook.close()


@pytest.fixture
def hook(make_hook):
    """A hook of the sandbox."""
    return make_hook()


@pytest.fixture
def names(sandbox):
    """The calls of the API by what they do."""
    return NAMES[sandbox.options.api]


def new_dataset(hook, **fields):
    given = {"name": "Before", "solution_id": SANDBOX_SOLUTION_ID, "slug": f"o{next(serial)}"}
    return hook.create_dataset(**given, **fields)


def stored(sandbox, dataset_id):
    """The dataset as the sandbox stores it."""
    (record,) = [record for record in sandbox.records("dataset") if record["id"] == dataset_id]
    return record


def test_create(hook, sandbox, names):
    """One request creates a dataset, and returns a record with the same field names on both APIs."""
    hook.get_dataset(new_dataset(hook)["id"])
    sandbox.recorder.clear()
    record = new_dataset(hook, description="d", source="s")
    assert record.keys() >= MAIN_FIELDS
    assert (record["name"], record["description"], record["source"]) == ("Before", "d", "s")
    assert record["organization_id"] == SANDBOX_ORGANIZATION_ID
    assert [request.name for request in sandbox.requests] == [names["create"]]
    assert stored(sandbox, record["id"])["name"] == "Before"


@pytest.mark.parametrize("if_exists", ["reuse", "update", "fail"])
def test_create_existing(hook, sandbox, if_exists):
    """A dataset with the same slug is reused, updated or a conflict; there is still only one."""
    record = new_dataset(hook)
    again = {"name": "After", "solution_id": SANDBOX_SOLUTION_ID, "slug": record["slug"], "if_exists": if_exists}
    if if_exists == "fail":
        with pytest.raises(PolyteiaConflictError):
            hook.create_dataset(**again)
    else:
        assert hook.create_dataset(**again)["id"] == record["id"]
    assert stored(sandbox, record["id"])["name"] == ("After" if if_exists == "update" else "Before")
    assert [item["slug"] for item in sandbox.records("dataset")].count(record["slug"]) == 1


def test_get(hook):
    """A dataset is found by its id and by its slug."""
    record = new_dataset(hook)
    by_slug = hook.get_dataset(solution_id=SANDBOX_SOLUTION_ID, slug=record["slug"])
    assert hook.get_dataset(record["id"]) == by_slug
    assert by_slug["id"] == record["id"]


@pytest.mark.parametrize("reference", [{"dataset_id": "ds_no"}, {"solution_id": SANDBOX_SOLUTION_ID, "slug": "no"}])
def test_get_missing(hook, sandbox, reference):
    """A missing dataset is one request and one exception, which names it."""
    hook.test_connection()
    sandbox.recorder.clear()
    with pytest.raises(PolyteiaNotFoundError, match="no"):
        hook.get_dataset(**reference)
    assert len(sandbox.requests) == 1


def test_list(hook):
    """The records of a solution are read lazily; each has an id and a slug."""
    slugs = {new_dataset(hook)["slug"] for _ in range(3)}
    records = list(hook.list_datasets(SANDBOX_SOLUTION_ID))
    assert slugs <= {record["slug"] for record in records}
    assert all(record.keys() >= {"id", "slug", "solution_id"} for record in records)


def test_list_is_lazy(hook, sandbox, names):
    """Nothing is requested before the first record is needed."""
    hook.test_connection()
    listing = hook.list_datasets(SANDBOX_SOLUTION_ID)
    assert sandbox.count(names["list"]) == 0
    new_dataset(hook)
    assert next(iter(listing))["id"]
    assert sandbox.count(names["list"]) == 1


def test_update_loses_nothing(hook, sandbox):
    """An update keeps every field that it does not name, the source timestamp included."""
    record = new_dataset(hook, description="d", source="s", documentation={"blocks": [{"a": 1}]})
    hook.set_source_timestamp(record["id"], "2026-01-31T12:00:00Z")
    before = stored(sandbox, record["id"])
    updated = hook.update_dataset(record["id"], name="After")
    assert updated["name"] == "After"
    after = stored(sandbox, record["id"])
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"name", "updated_at"}
    assert after["documentation"] == {"blocks": [{"a": 1}]}


def test_update_with_a_source_timestamp(hook, sandbox):
    """The as-of time is stored together with another field."""
    record = new_dataset(hook)
    assert hook.update_dataset(record["id"], name="After", source_timestamp="2026-01-31")["name"] == "After"
    assert "2026-01-31T00:00:00" in json.dumps(stored(sandbox, record["id"]), default=str)


def test_source_timestamp(hook, sandbox):
    """The as-of time is stored in UTC."""
    record = new_dataset(hook)
    hook.set_source_timestamp(record["id"], "2026-01-31T12:00:00+01:00")
    assert "2026-01-31T11:00:00" in json.dumps(stored(sandbox, record["id"]), default=str)


def test_delete(hook, sandbox):
    """A dataset is deleted once; deleting it again is an error, or False."""
    record = new_dataset(hook)
    assert hook.delete_dataset(record["id"]) is True
    assert record["id"] not in [item["id"] for item in sandbox.records("dataset")]
    with pytest.raises(PolyteiaNotFoundError):
        hook.delete_dataset(record["id"])
    assert hook.delete_dataset(record["id"], ignore_missing=True) is False
    assert hook.delete_dataset(solution_id=SANDBOX_SOLUTION_ID, slug=record["slug"], ignore_missing=True) is False


def test_upload(hook, sandbox, names, tmp_path):
    """The bytes arrive, once, and are there when the call returns."""
    (path := tmp_path / "bookings.csv").write_bytes(CSV)
    record = new_dataset(hook)
    uploaded = hook.upload_dataset(record["id"], path)
    assert sandbox.content(record["id"]) == CSV
    assert sandbox.count(names["upload"]) == 1
    assert uploaded.pop("ingest_id", None) is None or sandbox.options.api == "rpc"
    expected = {"rows": None, "columns": {}, "bytes": len(CSV), "content_type": "text/csv", "filename": "bookings.csv"}
    assert uploaded == {"dataset_id": record["id"], **expected}


def test_upload_of_nothing_known(hook, tmp_path):
    """An upload into a missing dataset fails."""
    (path := tmp_path / "bookings.csv").write_bytes(CSV)
    with pytest.raises(PolyteiaNotFoundError):
        hook.upload_dataset("ds_missing", path)


def test_last_upload_of_a_date_field(hook):
    """A date field of the record can show an upload on both APIs; a missing one is an error that lists the others."""
    record = new_dataset(hook)
    found = hook.last_upload(record["id"], timestamp_field="created_at")
    assert found["uploaded_at"] == record["created_at"]
    with pytest.raises(PolyteiaConfigurationError, match=r"date fields are .*created_at.*timestamp_field"):
        hook.last_upload(record["id"], timestamp_field="delivered_at")
    with pytest.raises(PolyteiaConfigurationError, match="does not contain a date"):
        hook.last_upload(record["id"], timestamp_field="slug")


def test_last_upload(hook, sandbox):
    """The command API shows the upload itself, the RPC API the as-of time of the data."""
    record = new_dataset(hook)
    assert hook.last_upload(record["id"]) is None
    sandbox.upload(record["id"], CSV)
    hook.set_source_timestamp(record["id"], "2026-01-31")
    shown = hook.wait_for_upload(record["id"], timeout=5, poll_interval=0.1)
    if sandbox.options.api == "rpc":
        assert (shown["uploaded_at"], shown["size"]) == ("2026-01-31T00:00:00.000Z", None)
    else:
        assert shown["size"] == len(CSV)


def test_execute_sql(hook, sandbox):
    """A result has the same JSON form on both APIs."""
    record = new_dataset(hook)
    sandbox.upload(record["id"], CSV)
    result = hook.execute_sql("SELECT id, name FROM {t} WHERE id > ? ORDER BY id", {"t": record["id"]}, [1])
    assert result["rows"] == [[2, "After"]]
    assert [column["name"] for column in result["columns"]] == ["id", "name"]
    assert [column["type"] for column in result["columns"]] == ["BIGINT", "VARCHAR"]


def test_export(hook, sandbox, tmp_path):
    """A query and a whole dataset are written to Parquet files with the same rows."""
    pq = pytest.importorskip("pyarrow.parquet")
    record = new_dataset(hook)
    sandbox.upload(record["id"], CSV)
    exported = hook.export("SELECT * FROM {t}", {"t": record["id"]}, tmp_path / "query.parquet")
    whole = hook.export_dataset(record["id"], tmp_path / "dataset.parquet")
    tables = [pq.read_table(result["path"]).to_pylist() for result in (exported, whole)]
    assert tables == [[{"id": 1, "name": "Before"}, {"id": 2, "name": "After"}]] * 2
    assert (exported["rows"], whole["rows"]) == (2, 2)
    assert exported["datasets"] == whole["datasets"] == [record["id"]]


def test_connection(hook):
    """The Test button names the organization."""
    assert hook.test_connection() == (True, "Connected to organization 'Stadt Musterhausen'.")


def test_invalid_key(make_hook, sandbox):
    """An invalid key fails at the first request, and appears in no text."""
    hook = make_hook("pak_invalid_key")
    with pytest.raises(PolyteiaAuthenticationError) as caught:
        hook.get_dataset("ds_1")
    assert "pak_invalid_key" not in str(caught.value)
    assert len(sandbox.requests) == 1


def test_status(hook, sandbox, names):
    """Rejections are the same exceptions on both APIs, after one request."""
    hook.test_connection()
    for status, expected in [
        (403, PolyteiaPermissionError),
        (409, PolyteiaConflictError),
        (404, PolyteiaNotFoundError),
    ]:
        sandbox.recorder.clear()
        sandbox.faults.add(f"{names['get']}:status:{status}:1")
        with pytest.raises(expected):
            hook.get_dataset("ds_1")
        assert len(sandbox.requests) == 1


def test_raw_access_to_the_other_api(hook, sandbox):
    """The raw methods of the other API say what to use instead, and name the extra."""
    calls = [hook.command, hook.query, hook.iterate] if sandbox.options.api == "rpc" else [hook.call]
    name, instead = ("x/y", "PolyteiaHook.command") if calls == [hook.call] else ("list_datasets", "PolyteiaHook.call")
    for call in calls:
        with pytest.raises(PolyteiaConfigurationError, match=rf"{instead}.*'api'"):
            call(name)
    assert sandbox.requests == []


def test_detection(make_hook, sandbox):
    """Without the extra `api`, one request without a key finds out which API the host serves."""
    hook = make_hook(api="auto")
    new_dataset(hook)
    hook.get_dataset(solution_id=SANDBOX_SOLUTION_ID, slug=new_dataset(hook)["slug"])
    assert hook.api.name == sandbox.options.api
    probes = [request for request in sandbox.requests if request.name == EXCHANGE and "pak" not in str(request.body)]
    assert len(probes) == (1 if sandbox.options.api == "rpc" else 0)


def test_ingest_of_the_other_api(hook, sandbox, monkeypatch):
    """The command API has no ingests, and the RPC API does not know each of them."""
    monkeypatch.setattr(ingest, "VISIBILITY", 0.1)
    if sandbox.options.api == "command":
        with pytest.raises(PolyteiaConfigurationError, match="wait_for_upload"):
            hook.wait_for_ingest("ds_1", "dsig_1")
    else:
        with pytest.raises(PolyteiaOutcomeUnknownError, match="accepted but is not finished"):
            hook.wait_for_ingest(new_dataset(hook)["id"], "dsig_1", poll_interval=0.01)


@on_the_rpc_api
def test_failed_ingest(make_hook, sandbox, tmp_path):
    """A file that cannot be ingested fails with the platform's text, after one upload."""
    (path := tmp_path / "bookings.csv").write_bytes(CSV)
    hook = make_hook()
    record = new_dataset(hook)
    sandbox.faults.add("/api/upload/dataset:ingest-failed:1")
    with pytest.raises(PolyteiaIngestError) as caught:
        hook.upload_dataset(record["id"], path)
    assert caught.value.dataset_id == record["id"]
    assert caught.value.ingest_id.startswith("dsig_")
    assert caught.value.message
    assert sandbox.count("/api/upload/dataset") == 1


@on_the_rpc_api
@pytest.mark.parametrize("fault", ["ingest-stuck", "ingest-lost"])
def test_ingest_without_an_end(hook, sandbox, tmp_path, fault):
    """An ingest that never ends, or vanishes, leaves the outcome unknown: the file is not sent again."""
    (path := tmp_path / "bookings.csv").write_bytes(CSV)
    record = new_dataset(hook)
    sandbox.faults.add(f"/api/upload/dataset:{fault}:1")
    uploaded = hook.upload_dataset(record["id"], path, wait_for_ingest=False)
    with pytest.raises(PolyteiaOutcomeUnknownError, match="accepted but is not finished") as caught:
        hook.wait_for_ingest(record["id"], uploaded["ingest_id"], timeout=1, poll_interval=0.1)
    assert caught.value.identifiers == {"id": record["id"], "ingestId": uploaded["ingest_id"]}
    assert sandbox.count("/api/upload/dataset") == 1


def test_unacknowledged_terms(connect, tmp_path):
    """HTTP 412 fails at once and says who must do what."""
    (path := tmp_path / "bookings.csv").write_bytes(CSV)
    with Sandbox(api="rpc", unacknowledged_solutions=[SANDBOX_SOLUTION_ID]) as sandbox:
        connection = json.loads(sandbox.airflow_connection())
        connect("city", host=sandbox.base_url, password=sandbox.pak, extra=connection["extra"])
        with PolyteiaHook("city") as hook:
            record = new_dataset(hook)
            with pytest.raises(PolyteiaPreconditionError, match="must open the solution in Polyteia and acknowledge"):
                hook.upload_dataset(record["id"], path)
        assert sandbox.count("/api/upload/dataset") == 1


@on_the_rpc_api
def test_one_exchange_for_many_calls(sandbox, make_hook):
    """Two hooks of one process share a session."""
    for hook in (make_hook(), make_hook()):
        list(hook.list_datasets(SANDBOX_SOLUTION_ID))
    assert sandbox.count(EXCHANGE) == 1


@on_the_rpc_api
def test_expired_session_is_renewed_once(sandbox, make_hook):
    """A session that the platform no longer knows is renewed, and the call is sent once more."""
    hook = make_hook()
    list(hook.list_datasets(SANDBOX_SOLUTION_ID))
    sandbox.recorder.clear()
    sandbox.faults.add("dataset/listDatasets:status:401:1")
    list(hook.list_datasets(SANDBOX_SOLUTION_ID))
    assert [request.name for request in sandbox.requests] == ["dataset/listDatasets", EXCHANGE, "dataset/listDatasets"]
    sandbox.recorder.clear()
    sandbox.faults.add("dataset/listDatasets:status:401:1", "dataset/listDatasets:status:401:2")
    with pytest.raises(PolyteiaAuthenticationError):
        list(hook.list_datasets(SANDBOX_SOLUTION_ID))
    assert sandbox.count("dataset/listDatasets") == 2


def test_no_secret_in_exceptions(sandbox, make_hook):
    """Neither the key nor a session token appears in an exception or a repr."""
    hook = make_hook()
    hook.test_connection()
    sandbox.faults.add("*:garbage:p=1")
    with pytest.raises(PolyteiaError) as caught:
        new_dataset(hook)
    texts = f"{caught.value!s} {caught.value!r} {hook.get_conn()!r} {hook.get_conn().credentials!r}"
    secrets = [sandbox.pak, *(session.token for session in sessions._sessions.values())]
    assert not [secret for secret in secrets if secret in texts]
