"""A round trip from a database to the platform and back to a file, and a slow load."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator
from airflow_provider_polyteia.operators.sql import PolyteiaSqlOperator
from airflow_provider_polyteia.transfers.polyteia_to_file import PolyteiaToFileOperator
from airflow_provider_polyteia.transfers.sql_to_polyteia import SqlToPolyteiaOperator

SOLUTION = "{{ params.solution_id }}"
PARAMS = {"solution_id": "", "folder": "", "driver": "auto"}

with DAG("round_trip", schedule=None, params=PARAMS):
    create = CreateDatasetOperator(task_id="create", name="Round trip", solution_id=SOLUTION, slug="round_trip")
    load = SqlToPolyteiaOperator(
        task_id="load",
        conn_id="city_database",
        sql="SELECT * FROM bookings ORDER BY id",
        dataset_id=create.output["id"],
        source_timestamp="2026-03-31",
        temp_dir="{{ params.folder }}",
    )
    query = PolyteiaSqlOperator(
        task_id="query",
        sql="SELECT count(*), sum(amount) FROM {bookings} WHERE paid",
        datasets={"bookings": load.output["dataset_id"]},
    )
    save = PolyteiaToFileOperator(
        task_id="save",
        sql="FROM {bookings} ORDER BY id",
        datasets={"bookings": load.output["dataset_id"]},
        destination="{{ params.folder }}/bookings.parquet",
    )
    query >> save

with DAG("long_load", schedule=None, params=PARAMS):
    SqlToPolyteiaOperator(
        task_id="load",
        conn_id="city_database",
        sql="SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000) b",
        dataset_id="ds_1",
        temp_dir="{{ params.folder }}",
    )
