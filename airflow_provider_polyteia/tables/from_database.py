"""Run a query in a database that Airflow knows, and keep its rows as a Parquet file."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from contextvars import copy_context
from importlib.util import find_spec
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException, BaseHook

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.tables.optional_dependencies import require
from airflow_provider_polyteia.tables.readers.dbapi import DbApiReader
from airflow_provider_polyteia.tables.readers.postgres_adbc import AdbcReader
from airflow_provider_polyteia.tables.sql_statement import single_query
from airflow_provider_polyteia.tables.staging import Spool, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_polyteia.tables.readers.base import Parameters, Reader

log = logging.getLogger(__name__)

Driver = Literal["auto", "adbc", "dbapi"]

_REPORT_EVERY = 5.0
# A signal that the system has handed to another thread is noticed after this time, others at once.
_NAP = 0.5
# How often a query is cancelled, once a nap, before it is left behind.
_CANCELLATIONS = 10

T = TypeVar("T")


def fetch(
    conn_id: str,
    sql: str,
    parameters: Parameters = None,
    *,
    driver: Driver = "auto",
    hook_params: Mapping[str, Any] | None = None,
    temp_dir: str | None = None,
) -> Table:
    """Run a query and return its rows as a temporary Parquet file. Nothing is committed in the database.

    :param conn_id: an Airflow connection to a SQL database.
    :param parameters: values for the placeholders, in the style of the connection's own driver.
    :param driver: ``"adbc"`` reads Arrow from PostgreSQL, fastest; ``"dbapi"`` uses the connection's hook;
        ``"auto"`` takes ADBC where it is installed and fits.
    :param hook_params: arguments for the connection's hook.
    :param temp_dir: where the temporary file is; None: where the system has them.
    :raises PolyteiaConfigurationError: if it is no query, or the connection leads to no SQL database.
    :raises PolyteiaError: if the rows could not be read or kept.
    """
    query = single_query(sql)
    hook = _hook(conn_id, hook_params)
    reader_class = _reader_class(hook, conn_id, driver)
    log.info("Reading from connection %r through %s", conn_id, reader_class.__name__)
    reader = reader_class(hook, query, parameters)
    begun = time.monotonic()
    table = _in_thread(lambda: _spooled(reader, conn_id, temp_dir), reader.cancel)
    log.info("Read %s rows from connection %r in %.1f s", f"{table.rows:,}", conn_id, time.monotonic() - begun)
    return table


def _hook(conn_id: str, hook_params: Mapping[str, Any] | None) -> Any:
    try:
        connection: Any = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise PolyteiaConfigurationError(
            f"There is no connection {conn_id!r} to read rows from. Create it under Admin -> Connections.",
            conn_id=conn_id,
        ) from None
    try:
        hook = connection.get_hook(hook_params=dict(hook_params or {}))
    except (AirflowException, AttributeError, ImportError) as error:  # what Airflow raises where it finds no hook
        raise PolyteiaConfigurationError(
            f"Connection {conn_id!r} has the type {connection.conn_type!r}, for which Airflow finds no hook. "
            "Install Airflow's provider for its database, restart Airflow, and choose the type again.",
            conn_id=conn_id,
        ) from error
    if not hasattr(hook, "get_cursor"):
        raise PolyteiaConfigurationError(
            f"Connection {conn_id!r} leads to {type(hook).__name__}, which is no hook of a SQL database."
        )
    return hook


def _reader_class(hook: Any, conn_id: str, driver: Driver) -> type[AdbcReader | DbApiReader]:
    if driver not in get_args(Driver):
        raise PolyteiaConfigurationError(f"The driver is {driver!r}; it must be one of {', '.join(get_args(Driver))}.")
    is_installed = find_spec("adbc_driver_postgresql") is not None
    if driver == "dbapi" or (driver == "auto" and not (hook.conn_type == "postgres" and is_installed)):
        return DbApiReader
    if hook.conn_type != "postgres":
        raise PolyteiaConfigurationError(
            f"Connection {conn_id!r} is of type {hook.conn_type!r}, but driver='adbc' is for 'postgres' only."
        )
    require("adbc_driver_postgresql", "postgres", "driver='adbc'")
    return AdbcReader


def _spooled(reader: Reader, conn_id: str, temp_dir: str | None) -> Table:
    told = time.monotonic()
    with Spool(temp_dir) as spool:
        try:
            for batch in reader.batches():
                spool.write(batch)
                if time.monotonic() - told > _REPORT_EVERY:
                    told = time.monotonic()
                    log.info("Reading from connection %r: %s rows so far", conn_id, f"{spool.rows:,}")
        except PolyteiaError:
            raise
        except Exception as error:
            raise PolyteiaError(
                f"Reading from connection {conn_id!r} failed after {spool.rows:,} rows, so nothing was uploaded: "
                f"{type(error).__name__}: {str(error).strip()}"
            ) from error
        return spool.finish()


def _in_thread(work: Callable[[], T], cancel: Callable[[], None]) -> T:
    """Run `work` in a thread, and cancel it if this one is interrupted, as a kill or a time-out does."""
    outcome: Future[T] = Future()
    ended = Event()
    context = copy_context()

    def run() -> None:
        try:
            outcome.set_result(context.run(work))
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            outcome.set_exception(error)
        finally:
            ended.set()

    Thread(target=run, name="polyteia-sql", daemon=True).start()
    try:
        while not ended.wait(_NAP):  # not `join`, which loses its thread when a signal interrupts it
            pass
    except BaseException:
        _cancel(cancel, ended)
        raise
    return outcome.result()


def _cancel(cancel: Callable[[], None], ended: Event) -> None:
    """Cancel until the thread has ended: at first there may be nothing to cancel yet, or not any more."""
    log.info("Cancelling the query")
    for _ in range(_CANCELLATIONS):
        try:
            cancel()
        except Exception:
            log.warning("The query could not be cancelled", exc_info=True)
        if ended.wait(_NAP):
            return
    log.warning("The query was not to be cancelled; the database will notice that nobody listens to it")
