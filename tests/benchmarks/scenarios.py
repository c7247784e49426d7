"""The scenarios that `transfers.py` compares; runs one of them once in this process.

Prints the time in seconds and the peak of memory above idle. Idle is the process after importing the library, and for
our operators after importing Airflow, like the process of a task before `execute`. The peak is the kernel's VmHWM.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from io import BytesIO
from pathlib import Path

DATASET = "ds_d2k7p8f4c5v1s8h3q9v0"
QUERY = "SELECT * FROM bookings"
BUNDLE = os.environ["REQUESTS_CA_BUNDLE"]
URL = os.environ["PLATFORM"]
HEADERS = {"Authorization": "Bearer pak-of-the-benchmark", "X-Upload-Token": "token-of-the-benchmark"}


def main(scenario: str, path: str) -> None:
    """Run a scenario once, and print the figures."""
    transfer = SCENARIOS[scenario](path)
    if "our" in scenario:
        _begin_task()
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    idle, started = _memory("VmRSS"), time.perf_counter()
    transfer()
    seconds = time.perf_counter() - started
    print(json.dumps({"mib": (_memory("VmHWM") - idle) / 1024, "seconds": seconds}))


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _begin_task():
    """Load what the process of a task loads before `execute`: Airflow's listeners, and with them its plugins."""
    from airflow.sdk.listener import get_listener_manager

    get_listener_manager()


def _upload(path, *, check):
    from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator

    return partial(FileToPolyteiaOperator(task_id="load", source=path, dataset_id=DATASET, check=check).execute, {})


def _conversion(path):
    from airflow_provider_polyteia.transfers.file_to_polyteia import FileToPolyteiaOperator

    return partial(FileToPolyteiaOperator(task_id="load", source=path, dataset_id=DATASET, convert=True).execute, {})


def _duckdb_csv(rows, path):
    """DuckDB reads a CSV file, whose first rows or all of them decide about types; its Parquet file is uploaded."""

    def load():
        import duckdb

        with tempfile.TemporaryDirectory() as directory, duckdb.connect() as connection:
            file = f"{directory}/table.parquet"
            source = f"read_csv('{path}', sample_size = {rows})"
            connection.execute(f"COPY (FROM {source}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)")
            _curl_upload(file)()

    return load


def _export(path):
    from airflow_provider_polyteia.transfers.polyteia_to_file import PolyteiaToFileOperator

    sql = f"FROM '{DATASET}'"
    return partial(PolyteiaToFileOperator(task_id="save", sql=sql, datasets=[DATASET], destination=path).execute, {})


def _table(conn_id, driver, _):
    from airflow_provider_polyteia.transfers.sql_to_polyteia import SqlToPolyteiaOperator

    task = SqlToPolyteiaOperator(task_id="load", sql=QUERY, conn_id=conn_id, dataset_id=DATASET, driver=driver)
    return partial(task.execute, {})


def _curl_upload(path):
    headers = [part for item in HEADERS.items() for part in ("--header", ": ".join(item))]
    form = ["--header", "Expect:", *headers, "--form", f"file=@{path}", f"{URL}/upload"]
    return partial(_curl, "--output", "/dev/null", *form)


def _curl_download(path):
    return partial(_curl, "--output", path, f"{URL}/download")


def _curl(*arguments):
    subprocess.run(["curl", "--silent", "--fail", "--cacert", BUNDLE, *arguments], check=True)


def _requests(path):
    import requests

    def send():
        with Path(path).open("rb") as file:
            parts = {"file": ("x.csv", file, "text/csv")}
            requests.post(f"{URL}/upload", files=parts, headers=HEADERS, timeout=60).raise_for_status()

    return send


def _toolbelt(path):
    import requests
    from requests_toolbelt import MultipartEncoder

    def send():
        with Path(path).open("rb") as file:
            body = MultipartEncoder({"file": ("x.csv", file, "text/csv")})
            headers = {**HEADERS, "Content-Type": body.content_type}
            requests.post(f"{URL}/upload", data=body, headers=headers, timeout=60).raise_for_status()

    return send


def _httpx(path):
    import ssl

    import httpx

    context = ssl.create_default_context(cafile=BUNDLE)

    def send():
        with Path(path).open("rb") as file:
            parts = {"file": ("x.csv", file, "text/csv")}
            httpx.post(f"{URL}/upload", files=parts, headers=HEADERS, verify=context, timeout=60).raise_for_status()

    return send


def _pandas(conn_id, _):
    """Like SqlToS3Operator of the Amazon provider: a data frame with converted types, as Parquet in memory."""
    import requests
    from airflow.providers.amazon.aws.transfers.sql_to_s3 import FILE_FORMAT, SqlToS3Operator
    from airflow.providers.common.compat.sdk import BaseHook

    def load():
        frame = BaseHook.get_connection(conn_id).get_hook().get_df(QUERY)
        SqlToS3Operator._fix_dtypes(frame, FILE_FORMAT.PARQUET)
        buffer = BytesIO()
        frame.to_parquet(buffer)
        buffer.seek(0)
        requests.post(f"{URL}/upload", data=buffer, headers=HEADERS, timeout=60).raise_for_status()

    return load


def _duckdb(_):
    """Like the vendor's connector: DuckDB copies the table to a Parquet file, which is then uploaded."""
    database = json.loads(os.environ["AIRFLOW_CONN_BENCH"])
    quoted = database["password"].replace("\\", "\\\\").replace("'", "\\'")
    target = (
        f"host={database['host']} port={database['port']} user={database['login']} "
        f"dbname={database['schema']} password='{quoted}'"
    )
    return partial(_scan, "postgres", target, "source.public")


def _duckdb_mysql(_):
    """The same for MariaDB."""
    database = json.loads(os.environ["AIRFLOW_CONN_BENCH_MARIADB"])
    target = (
        f"host={database['host']} port={database['port']} user={database['login']} db={database['schema']} "
        f"passwd={database['password']}"
    )
    return partial(_scan, "mysql", target, f"source.{database['schema']}")


def _scan(kind, target, schema):
    import duckdb

    package = importlib.import_module(f"duckdb_extension_{kind}_scanner")
    (library,) = Path(package.__file__).parent.rglob("*.duckdb_extension")
    with tempfile.TemporaryDirectory() as directory, duckdb.connect() as connection:
        file = f"{directory}/table.parquet"
        connection.execute(f"LOAD '{library}'")
        connection.execute("ATTACH '{}' AS source (TYPE {}, READ_ONLY)".format(target.replace("'", "''"), kind))
        connection.execute(f"SET search_path = '{schema}'")
        connection.execute(f"COPY ({QUERY}) TO '{file}' (FORMAT parquet)")
        _curl_upload(file)()


SCENARIOS = {
    "our upload": partial(_upload, check=True),
    "our upload, unchecked": partial(_upload, check=False),
    "our conversion": _conversion,
    "DuckDB, all rows decide about types": partial(_duckdb_csv, -1),
    "DuckDB, 20,480 rows decide about types": partial(_duckdb_csv, 20_480),
    "curl": _curl_upload,
    "requests, files= (the SDK's way)": _requests,
    "requests-toolbelt": _toolbelt,
    "httpx": _httpx,
    "our export": _export,
    "curl, download": _curl_download,
    "ours, duckdb": partial(_table, "bench", "duckdb"),
    "ours, dbapi": partial(_table, "bench", "dbapi"),
    "pandas (Amazon's SqlToS3Operator)": partial(_pandas, "bench"),
    "DuckDB's COPY (the vendor's connector)": _duckdb,
    "ours, MariaDB": partial(_table, "bench_mariadb", "auto"),
    "pandas, MariaDB": partial(_pandas, "bench_mariadb"),
    "DuckDB's mysql scanner": _duckdb_mysql,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
