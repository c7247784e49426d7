"""Operators for any command and any query of the command API, and for any procedure of the RPC API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.operators.base import PolyteiaOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class _RawOperator(PolyteiaOperator):
    """Base class of the operators for commands, queries and procedures."""

    template_fields_renderers = {"parameters": "json"}  # noqa: RUF012 - Airflow's own declaration is a plain dict

    parameters: Mapping[str, Any] | str | None

    def _parameters(self) -> Mapping[str, Any]:
        return self.optional_mapping("parameters") or {}


class PolyteiaCommandOperator(_RawOperator):
    """Run a command of the command API, and return the ``data`` of its response.

    A command whose response is lost is retried only if it is idempotent. Otherwise, unless a lookup shows what
    happened, the task fails immediately with PolyteiaOutcomeUnknownError. It also fails immediately if the key is
    invalid or lacks permission, or if the connection uses the RPC API. Commands that return a token are rejected.

    :param command: name of the command, e.g. ``create_workspace`` (templated).
    :param parameters: the command's params (templated; JSON types only). Default: none.
    :param idempotent: whether the command is safe to retry. Default: None, what is known of the command; False for an
        unknown one.
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = ("command", "parameters", "polyteia_conn_id")

    def __init__(
        self,
        *,
        command: str,
        parameters: Mapping[str, Any] | None = None,
        idempotent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.command = command
        self.parameters = parameters
        self.idempotent = idempotent

    def execute(self, context: Context) -> Any:
        """Run the command."""
        from airflow_provider_polyteia.client.command_api import methods  # noqa: PLC0415 - DAG files load faster without it

        self.check_provided()
        name = self.require_text("command")
        if methods.find(name, "command").returns_secret:
            raise PolyteiaConfigurationError(
                f"Task {self.task_id!r} cannot run {name!r}: it would expose the returned token in XCom. Use the "
                "transfers of this provider, or PolyteiaHook within a task.",
                method=name,
            )
        parameters = self._parameters()
        with self.hook:
            self.set_link(context, parameters)
            data = self.hook.command(name, parameters, idempotent=self.idempotent)
            self.set_link(context, parameters, data if isinstance(data, Mapping) else {})
        return self.xcom_value(data)


class PolyteiaQueryOperator(_RawOperator):
    """Run a query of the command API, and return the ``data`` of its response.

    :param query: name of the query, e.g. ``get_dataset`` (templated).
    :param parameters: the query's params (templated; JSON types only). Default: none.
    :param paginate: whether to read all pages and return the list of their items; `parameters` then contains neither
        ``page`` nor ``size``. Default: False.
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = ("query", "parameters", "polyteia_conn_id")

    def __init__(
        self,
        *,
        query: str,
        parameters: Mapping[str, Any] | None = None,
        paginate: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.query = query
        self.parameters = parameters
        self.paginate = paginate

    def execute(self, context: Context) -> Any:
        """Run the query."""
        self.check_provided()
        name, parameters = self.require_text("query"), self._parameters()
        with self.hook:
            self.set_link(context, parameters)
            if self.paginate:
                return self.xcom_value(list(self.hook.iterate(name, parameters)))
            data = self.hook.query(name, parameters)
        return self.xcom_value(data)


class PolyteiaCallOperator(_RawOperator):
    """Call a procedure of the RPC API, and return its output.

    A call whose response is lost, or is HTTP 5xx, is retried only if it is idempotent. Otherwise, the task fails
    immediately with PolyteiaOutcomeUnknownError, also after HTTP 404 (docs/platform-api.md#rpc-writes). It also fails
    immediately if the key is invalid or lacks permission, or if the connection uses the command API. Procedures that
    return a secret are rejected.

    :param procedure: router and procedure, e.g. ``dataset/getDatasetStats`` (templated).
    :param parameters: the procedure's input, with names in camelCase (templated; JSON types, dates and datetimes, UTC
        if naive). Default: none.
    :param idempotent: whether the call is safe to retry. Default: None, what is known of the procedure
        (docs/platform-api.md#rpc-writes), and False for an unknown one.
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = ("procedure", "parameters", "polyteia_conn_id")

    def __init__(
        self,
        *,
        procedure: str,
        parameters: Mapping[str, Any] | None = None,
        idempotent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.procedure = procedure
        self.parameters = parameters
        self.idempotent = idempotent

    def execute(self, context: Context) -> Any:
        """Call the procedure."""
        from airflow_provider_polyteia.client.rpc_api import procedures  # noqa: PLC0415 - DAG files load faster without it

        self.check_provided()
        name = self.require_text("procedure")
        if procedures.find(name).masked_output:
            raise PolyteiaConfigurationError(
                f"Task {self.task_id!r} cannot call {name!r}: it would expose a returned secret in XCom. Use the "
                "transfers of this provider, or PolyteiaHook within a task.",
                method=name,
            )
        parameters = self._parameters()
        with self.hook:
            self.set_link(context, parameters)
            output = self.hook.call(name, parameters, idempotent=self.idempotent)
            self.set_link(context, parameters, output if isinstance(output, Mapping) else {})
        return self.xcom_value(output)
