"""`PolyteiaSqlOperator`: run a statement on datasets, for results that fit into an XCom."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.exceptions import PolyteiaError
from airflow_provider_polyteia.links.polyteia import first_dataset
from airflow_provider_polyteia.operators.interruptible import InterruptibleOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_polyteia.client.sql import Datasets
    from airflow_provider_polyteia.hooks.files import AnyPath

DEFAULT_LIMIT = 48 * 1024


class PolyteiaSqlOperator(InterruptibleOperator):
    """Run a statement on datasets, and return the platform's answer if it is small.

    Returns ``result`` (the answer as it is; None if it is in a file), ``path`` (of that file, or None) and ``bytes``
    (of the answer as JSON); each is an XCom of its own too. For large results use `PolyteiaToFileOperator`, which
    needs no memory for them.

    :param sql: a statement, DuckDB's dialect (templated; may be the path of a ``.sql`` file). It refers to a dataset
        as ``{name}`` if `datasets` is a mapping, by its id in quotes (``'ds_...'``) if it is a list.
    :param datasets: the datasets in use (templated): ``{name: id}``, or their ids.
    :param args: values for placeholders by position (templated).
    :param named_args: values for placeholders by name (templated).
    :param idempotent: whether repeating the statement is harmless; None (default): yes for one that begins with SELECT
        or FROM and holds no semicolon, otherwise no.
    :param destination: where an answer above the limit is written to, as JSON: a path, a URL such as
        ``s3://conn_id@bucket/key``, or an `ObjectStoragePath` (templated). None (default): such an answer fails the
        task.
    :param max_xcom_bytes: the limit, for the answer as JSON (default: 48 KiB).
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = ("sql", "datasets", "args", "named_args", "destination", "polyteia_conn_id")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration is a plain dict
        "sql": "sql",
        "datasets": "json",
        "args": "json",
        "named_args": "json",
    }

    def __init__(
        self,
        *,
        sql: str,
        datasets: Datasets,
        args: Sequence[Any] | None = None,
        named_args: Mapping[str, Any] | None = None,
        idempotent: bool | None = None,
        destination: AnyPath | None = None,
        max_xcom_bytes: int = DEFAULT_LIMIT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.datasets = datasets
        self.args = args
        self.named_args = named_args
        self.idempotent = idempotent
        self.destination = destination
        self.max_xcom_bytes = max_xcom_bytes

    def work(self, context: Context) -> dict[str, Any]:
        """Run the statement."""
        from airflow_provider_polyteia.hooks.files import path_of, writing  # noqa: PLC0415 - DAG files load faster without

        destination = self.given("destination") if isinstance(self.destination, str) else self.destination
        sql = self.required("sql")
        self.link_to(context, first_dataset(self.datasets))
        result = self.hook.execute_sql(sql, self.datasets, self.args, self.named_args, idempotent=self.idempotent)
        encoded = json.dumps(result, ensure_ascii=False).encode()
        if len(encoded) <= self.max_xcom_bytes:
            return {"result": result, "path": None, "bytes": len(encoded)}
        if destination is None:
            raise PolyteiaError(
                f"The result of task {self.task_id!r} has {len(encoded):,} bytes as JSON; an XCom takes "
                f"{self.max_xcom_bytes:,}. Narrow the query, give a 'destination', or use PolyteiaToFileOperator."
            )
        path = path_of(destination)
        with writing(path) as file:
            file.write(encoded)
        return {"result": None, "path": str(path), "bytes": len(encoded)}
