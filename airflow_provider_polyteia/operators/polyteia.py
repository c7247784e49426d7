"""Operators for any command and any query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.operators.base import PolyteiaOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class _CallOperator(PolyteiaOperator):
    """What commands and queries share: a name and parameters."""

    template_fields_renderers = {"parameters": "json"}  # noqa: RUF012 - Airflow's own declaration is a plain dict

    parameters: Mapping[str, Any] | str | None

    def _parameters(self) -> Mapping[str, Any]:
        return self.mapping("parameters") or {}


class PolyteiaCommandOperator(_CallOperator):
    """Send a command, and return the ``data`` of the platform's answer.

    A command whose answer is lost is repeated only if that is harmless. If it is not, and no look-up can tell what
    happened, the task fails at once with PolyteiaOutcomeUnknownError. So does a wrong key, or a missing permission.

    :param command: e.g. ``create_workspace`` (templated).
    :param parameters: the command's params (templated; JSON types only).
    :param idempotent: whether repeating the command is harmless; None (default): as known of the command, and no for
        one that is not known.
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
        """Send the command."""
        from airflow_provider_polyteia.client import methods  # noqa: PLC0415 - DAG files load faster without

        name = self.required("command")
        if methods.find(name, "command").returns_secret:
            raise PolyteiaConfigurationError(
                f"Task {self.task_id!r} would store the token that {name!r} returns as XCom, for everyone to read. "
                "Use the transfers of this provider, or PolyteiaHook within a task.",
                method=name,
            )
        parameters = self._parameters()
        with self.hook:
            self.link_to(context, parameters)
            data = self.hook.command(name, parameters, idempotent=self.idempotent)
            self.link_to(context, parameters, data if isinstance(data, Mapping) else {})
        return self.outputs(data) if isinstance(data, Mapping) else data


class PolyteiaQueryOperator(_CallOperator):
    """Send a query, and return the ``data`` of the platform's answer.

    :param query: e.g. ``get_dataset`` (templated).
    :param parameters: the query's params (templated; JSON types only).
    :param paginate: read all pages and return the list of their items (default: no); ``page`` and ``size`` are then
        left out of `parameters`.
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
        """Send the query."""
        name, parameters = self.required("query"), self._parameters()
        with self.hook:
            self.link_to(context, parameters)
            if self.paginate:
                return list(self.hook.iterate(name, parameters))
            data = self.hook.query(name, parameters)
        return self.outputs(data) if isinstance(data, Mapping) else data
