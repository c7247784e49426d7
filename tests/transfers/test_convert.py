"""Files that are converted before they are loaded: what arrives on the platform, and what is rejected."""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import traceback
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from kills import run_until_killed

from airflow_provider_polyteia.client.formats import PARQUET
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaDataError
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.tables import optional_dependencies
from airflow_provider_polyteia.tables.engine import Engine
from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator

pytestmark = pytest.mark.slow  # many conversions

CASES = Path(__file__).parents[1] / "fixtures" / "files"
COLUMNS = {
    "AGS": "string",
    "PLZ": "string",
    "Straße": "string",
    "Betrag": "decimal128(18, 2)",
    "Datum": "date32[day]",
    "Aktiv": "bool",
}
FIRST = {
    "AGS": "14612000",
    "PLZ": "01067",
    "Straße": "Müllerstraße 5",
    "Betrag": Decimal("1234.50"),
    "Datum": dt.date(2026, 12, 31),
    "Aktiv": True,
}


def load(source, dataset_id, **arguments):
    """Return a task that converts a file, by default by its extension."""
    return FileToPolyteiaOperator(
        task_id="load", source=source, dataset_id=dataset_id, **({"convert": True} | arguments)
    )


def table_on(platform, dataset_id):
    """The rows that the platform holds."""
    return pq.read_table(io.BytesIO(platform.content(dataset_id))).to_pylist()


@pytest.mark.parametrize("name", ["cp1252.csv", "utf16.csv", "utf8.csv"])
@pytest.mark.parametrize("storage", ["local", "stored"])
def test_loaded(sandbox, dataset_id, name, storage, request):
    """The platform holds typed rows, and the result says which."""
    source = str(CASES / name)
    if storage == "stored":
        source = ObjectStoragePath(request.getfixturevalue("object_storage")) / name
        source.write_bytes((CASES / name).read_bytes())
    result = load(source, dataset_id).execute({})
    assert table_on(sandbox, dataset_id)[0] == FIRST
    assert result == {
        "dataset_id": dataset_id,
        "bytes": len(sandbox.content(dataset_id)),
        "rows": 3,
        "columns": COLUMNS,
        "content_type": PARQUET,
        "filename": f"{Path(name).stem}.parquet",
        "source": str(source),
    }


def test_file_object(hook, sandbox, dataset_id):
    """The hook converts file objects too."""
    with (CASES / "cp1252.csv").open("rb") as file:
        uploaded = hook.upload_dataset(dataset_id, file, convert=True, filename="x.parquet")
    assert (uploaded["rows"], uploaded["filename"], uploaded["columns"]) == (3, "x.parquet", COLUMNS)
    assert table_on(sandbox, dataset_id)[0] == FIRST


def test_folder(sandbox, dataset_id, tmp_path):
    """A folder of Parquet files is one table."""
    for name in ("a", "b"):
        (tmp_path / "day" / f"{name}.parquet").parent.mkdir(exist_ok=True)
        (tmp_path / "day" / f"{name}.parquet").write_bytes((CASES / "pandas_index.parquet").read_bytes())
    result = load(str(tmp_path / "day"), dataset_id).execute({})
    assert (result["rows"], result["filename"], len(table_on(sandbox, dataset_id))) == (4, "day.parquet", 4)
    assert load(str(tmp_path / "day" / "*.parquet"), dataset_id).execute({})["filename"] == "data.parquet"


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("html.csv", True),
        ("err.json", True),
        ("bericht.xlsx", True),
        ("ragged.csv", True),
        ("cp1252.csv", {"columns": {"Straße": "DATE"}}),
    ],
)
def test_refused(sandbox, dataset_id, name, convert):
    """Nothing is sent if the file cannot be converted."""
    before = sandbox.content(dataset_id)
    sandbox.recorder.clear()
    with pytest.raises(PolyteiaDataError, match="Nothing was sent"):
        load(str(CASES / name), dataset_id, convert=convert).execute({})
    assert (sandbox.requests, sandbox.content(dataset_id)) == ([], before)


def test_nights(sandbox, dataset_id, tmp_path, caplog):
    """Columns keep their types from night to night; what does not fit them is a change of columns."""
    path = tmp_path / "x.csv"
    xcom = None

    def run(content, **arguments):
        nonlocal xcom
        path.write_text(content)
        task = load(str(path), dataset_id, **arguments)
        instance = SimpleNamespace(map_index=-1, xcom_pull=lambda **_: xcom, xcom_push=lambda **_: None)
        xcom = json.loads(json.dumps(task.execute({"ti": instance})))
        return xcom["columns"]

    first = {"id": "int64", "plz": "string", "betrag": "decimal128(18, 2)"}
    assert run("id;plz;betrag\n1;01067;1,25\n2;10115;3\n") == first
    caplog.clear()
    assert run("id;plz;betrag\n1;10115;3\n") == first
    assert "have changed" not in caplog.text
    with pytest.raises(PolyteiaDataError, match=r"another type: 'betrag' \(decimal128\(18, 2\) -> string\)"):
        run("id;plz;betrag\n1;10115;unbekannt\n", on_schema_change="fail")
    assert table_on(sandbox, dataset_id) == [{"id": 1, "plz": "10115", "betrag": Decimal("3.00")}]
    with pytest.raises(PolyteiaDataError, match="has 1 row; 'min_rows' is 2"):
        run("id;plz;betrag\n1;10115;3\n", min_rows=2)


@pytest.mark.parametrize("deferrable", [True, False])
def test_rpc_api(connect, deferrable):
    """On the RPC API, converted files are ingested like others, also when the task waits without a worker."""
    with Sandbox(api="rpc") as platform:
        extra = json.loads(platform.airflow_connection())["extra"]
        connect(host=platform.base_url, password=platform.pak, extra=extra)
        with PolyteiaHook() as hook:
            created = hook.create_dataset(name="a", solution_id=SANDBOX_SOLUTION_ID, slug="a")["id"]
        task = load(str(CASES / "cp1252.csv"), created, deferrable=deferrable)
        if deferrable:
            task.defer = lambda **arguments: (
                pytest.fail("deferred without a result") if not arguments["kwargs"] else None
            )
        result = task.execute({})
        assert (result["rows"], result["columns"]) == (3, COLUMNS)
        with PolyteiaHook() as hook:
            hook.wait_for_ingest(created, result["ingest_id"])
        assert table_on(platform, created)[0] == FIRST


@pytest.mark.parametrize(
    ("convert", "why"),
    [
        ({"delimiter": ";"}, "has an unknown option 'delimiter'. Supported options: .*delim"),
        ({"format": "csv", "sheet": "A"}, "'sheet' .* is not an option of the format csv, which has"),
        ({"format": "doc"}, "'format' .* must be one of csv, tsv"),
        ({"delim": ";;"}, "'delim' .* must be one character"),
        ({"encoding": "ansi"}, "'encoding' .* must be an encoding that Python knows"),
        ({"skip": -1}, "'skip' .* must be a number of lines"),
        ({"header": "yes"}, "'header' .* must be True or False"),
        ({"columns": ["a"]}, "'columns' .* must map names of columns to types"),
        ({"decimal_separator": ";"}, "'decimal_separator' .* must be '.' or ','"),
        ({"nullstr": 0}, "'nullstr' .* must be a string or a list of strings"),
        ("yes", "'convert' is 'yes'; it must be a bool or a mapping"),
    ],
)
def test_unusable_options(sandbox, dataset_id, convert, why):
    """An exception says which option is wrong; the names are checked while the DAG is parsed."""
    with pytest.raises(PolyteiaConfigurationError, match=why):
        load(str(CASES / "utf8.csv"), dataset_id, convert=convert).execute({})


def test_templates(sandbox, dataset_id):
    """Options may be templates."""
    task = load("{{ folder }}/utf8.csv", dataset_id, convert={"columns": {"Aktiv": "{{ type }}"}})
    task.render_template_fields({"folder": str(CASES), "type": "VARCHAR"})
    assert task.execute({})["columns"]["Aktiv"] == "string"


def test_content_type(hook, dataset_id):
    """Converted files are Parquet, so another content type makes no sense."""
    with pytest.raises(PolyteiaConfigurationError, match="with 'convert' the file is uploaded as Parquet"):
        hook.upload_dataset(dataset_id, str(CASES / "utf8.csv"), convert=True, content_type="text/csv")


@pytest.mark.parametrize("missing", ["duckdb", "pyarrow", "python_calamine"])
def test_missing_package(sandbox, dataset_id, missing, monkeypatch):
    """Without the extra, the exception says what to install."""
    monkeypatch.setattr(optional_dependencies, "is_installed", lambda module: module != missing)
    with pytest.raises(PolyteiaConfigurationError, match=r'pip install "airflow-provider-polyteia\[files\]"'):
        load(str(CASES / "bericht.xlsx"), dataset_id).execute({})


def test_temp_dir(hook, dataset_id, tmp_path):
    """Temporary files are made in `temp_dir`, have no name, and are gone afterwards."""
    directory = tmp_path / "missing"
    with pytest.raises(PolyteiaConfigurationError, match="Set 'temp_dir' to a different directory"):
        hook.upload_dataset(dataset_id, str(CASES / "utf8.csv"), convert=True, temp_dir=str(directory))
    directory.mkdir()
    hook.upload_dataset(dataset_id, str(CASES / "utf8.csv"), convert=True, temp_dir=str(directory))
    assert list(directory.iterdir()) == []


def test_killed(sandbox, dataset_id, kill, monkeypatch):
    """A killed task ends the conversion within seconds, and sends nothing."""
    endless = "SELECT count(*) AS n FROM range(1_000_000_000_000)"
    copy = Engine.copy_to_parquet
    monkeypatch.setattr(Engine, "copy_to_parquet", lambda engine, _, width: copy(engine, endless, width))
    sandbox.recorder.clear()
    task = load(str(CASES / "utf8.csv"), dataset_id)
    kill(task)
    assert run_until_killed(task) < 3
    assert sandbox.requests == []


def test_no_value_in_the_log(sandbox, dataset_id, tmp_path, caplog):
    """Neither the log nor an exception contains a value of the file."""
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "x.csv"
    for content in ("id;name\n1;Geheim\n2;Geheim;x\n", 'id;name\n1;"Geheim" x\n', "id;name\nGeheim;1\n"):
        path.write_text(content)
        with pytest.raises(PolyteiaDataError) as rejected:
            load(str(path), dataset_id, convert={"columns": {"id": "INTEGER"}}).execute({})
        assert "Geheim" not in "".join(traceback.format_exception(rejected.value)) + caplog.text


@pytest.mark.parametrize(
    ("name", "content", "convert"),
    {
        "declared": ("x.json", '[{"a":1,"b":"x"},{"a":1.5,"b":"Geheim"}]', {"columns": {"a": "INTEGER", "b": "DATE"}}),
        "cast": ("x.json", '[{"a":1},{"a":12345.678}]', {"columns": {"a": "INTEGER"}}),
        "damaged": ("x.json", "[" + '{"a":1},' * 200_000 + '{"a" "Geheim"}]', True),
        "row": ("x.csv", 'a;b\n1;Geheim\n2;"Geheim\n', True),
    }.values(),
)
def test_no_value_in_a_traceback(dataset_id, tmp_path, name, content, convert):
    """Airflow logs the whole traceback: the exceptions of DuckDB, which contain values, are not part of it."""
    (tmp_path / name).write_text(content)
    with pytest.raises(PolyteiaDataError) as rejected:
        load(str(tmp_path / name), dataset_id, convert=convert).execute({})
    logged = "".join(traceback.format_exception(rejected.value))
    assert "Geheim" not in logged
    assert "_duckdb." not in logged
