"""PostgreSQL behind pgbouncer, and read-only replicas: the same rows, or a clear exception and nothing uploaded."""

from __future__ import annotations

import json
import threading
import time

import pytest
from postgres import PgBouncer, Standby, postgres  # noqa: F401 - a fixture
from postgres_drivers import DRIVERS, choose_driver, read  # noqa: F401 - a fixture

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.transfers.sql_to_polyteia import SqlToPolyteiaOperator

pytestmark = pytest.mark.integration

SLOW = "SELECT id, pg_sleep(0.0005) IS NULL AS slow FROM busy"


@pytest.fixture(scope="module")
def primary(postgres):  # noqa: F811 - the imported fixture
    """A server with a table."""
    postgres.run(
        "CREATE TABLE busy AS SELECT g AS id FROM generate_series(1, 30000) AS g",
        "CREATE TABLE prices AS SELECT g AS id, (g / 8.0)::numeric(12, 2) AS price FROM generate_series(1, 50000) AS g",
    )
    return postgres


@pytest.fixture
def connect_to(primary, monkeypatch):
    """Point the Airflow connection `city` to another port."""

    def point(port):
        monkeypatch.setenv("AIRFLOW_CONN_CITY", json.dumps({**primary.connection, "port": port}))

    return point


@pytest.fixture(scope="module")
def pgbouncer(primary):
    """A pool in transaction mode."""
    with PgBouncer(primary) as pool:
        yield pool


@pytest.fixture(scope="module")
def standby(primary):
    """A replica that cancels queries which are in its way."""
    with Standby(primary) as replica:
        yield replica


@pytest.mark.parametrize("name", DRIVERS)
def test_pgbouncer(pgbouncer, connect_to, use, name):
    """In transaction mode, settings of a session are lost between transactions: nothing here depends on them."""
    connect_to(pgbouncer.port)
    for _ in range(3):
        found = read("SELECT * FROM prices WHERE id > %s ORDER BY id", use(name), [0])
        assert found.num_rows == 50_000
        assert str(found.schema.field("price").type) == "decimal128(12, 2)"


@pytest.mark.parametrize("name", DRIVERS)
def test_session_is_clean_after_pgbouncer(pgbouncer, connect_to, primary, use, name):
    """Others get the same connection of the pool: it is neither read-only nor in a transaction."""
    connect_to(pgbouncer.port)
    read("SELECT * FROM prices LIMIT 5", use(name))
    connection = primary.connect(port=pgbouncer.port)
    try:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE others (id int)")
            cursor.execute("DROP TABLE others")
    finally:
        connection.close()


@pytest.mark.parametrize("name", DRIVERS)
def test_replica(standby, connect_to, use, name):
    """A replica is read like any other server."""
    connect_to(standby.port)
    assert read("SELECT * FROM prices", use(name)).num_rows == 50_000


@pytest.mark.parametrize("name", DRIVERS)
def test_replica_cancels(primary, standby, connect_to, connect, use, name):
    """A replica that cancels the query for a change of the primary: an exception that says so, and nothing is sent."""
    connect_to(standby.port)
    timer = threading.Timer(2, primary.run, ["DROP TABLE busy"])
    with Sandbox() as platform:
        connect(host=platform.base_url, password=platform.pak)
        fields = {"name": "Busy", "solution_id": SANDBOX_SOLUTION_ID, "slug": "busy", "description": "", "source": ""}
        dataset_id = platform.call("create_dataset", fields)["id"]
        before = platform.call("get_dataset", {"id": dataset_id})
        task = SqlToPolyteiaOperator(task_id="load", sql=SLOW, conn_id="city", dataset_id=dataset_id, driver=use(name))
        timer.start()
        try:
            with pytest.raises(PolyteiaError, match=r"so nothing was uploaded: [\s\S]*due to conflict with recovery"):
                task.execute({})
        finally:
            timer.join()
            primary.run("CREATE TABLE busy AS SELECT g AS id FROM generate_series(1, 30000) AS g")
            _wait_for_table(standby)
        assert platform.call("get_dataset", {"id": dataset_id}) == before
        assert not [request for request in platform.requests if "upload" in str(request)]


def _wait_for_table(standby):
    """Wait until the replica has the new table."""
    end = time.monotonic() + 20
    while standby.run("SELECT to_regclass('busy') IS NULL") == [(True,)] and time.monotonic() < end:
        time.sleep(0.05)
