"""Raw access to either API of the platform: commands and queries, and procedures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.hooks.base import PolyteiaBaseHook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_polyteia.client.command_api.methods import Kind
    from airflow_provider_polyteia.client.command_api.operations import CommandAPI
    from airflow_provider_polyteia.client.rpc_api.operations import RpcAPI


class RawAccessHook(PolyteiaBaseHook):
    """Runs any command, query or procedure; parameters as for `PolyteiaBaseHook`."""

    def command(self, method: str, params: Mapping[str, Any] | None = None, *, idempotent: bool | None = None) -> Any:
        """Run a command of the command API and return the ``data`` of its response.

        A create whose result can be looked up by its natural key (``create_dataset``, ``create_insight``) is applied
        exactly once; if the resource existed before, it raises PolyteiaConflictError.

        :param method: name of the command, e.g. ``create_dataset``; an unknown one is posted to ``/api``.
        :param params: the command's params; JSON types only. Default: none.
        :param idempotent: whether the command is safe to retry. Default: None, what is known of the command; False for
            an unknown one. If False, a command whose response is lost raises PolyteiaOutcomeUnknownError, unless a
            lookup shows what happened.
        :raises PolyteiaConfigurationError: if the connection uses the RPC API, or an argument is unusable.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        return self._call("command", method, params, idempotent=idempotent)

    def query(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """Run a query of the command API and return the ``data`` of its response.

        :param method: name of the query, e.g. ``get_dataset``.
        :param params: the query's params; JSON types only. Default: none.
        :raises PolyteiaConfigurationError: if the connection uses the RPC API, or an argument is unusable.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        return self._call("query", method, params)

    def iterate(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        page_size: int = 100,
        max_pages: int = 10_000,
    ) -> Iterator[dict[str, Any] | str]:
        """Yield all items of a paginated query of the command API, page by page as they are needed.

        An item that moves to another page in the meantime is yielded once (docs/platform-api.md#pagination).

        :param method: name of the query, e.g. ``list_datasets``.
        :param params: the query's params without ``page`` and ``size``. Default: none.
        :param page_size: items per request, 1 to 100. Default: 100.
        :param max_pages: maximum number of pages; more raise an exception. Default: 10000.
        :raises PolyteiaConfigurationError: if the connection uses the RPC API, or an argument is unusable.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        pages = self._command_api(method).pages(method, params, page_size=page_size, max_pages=max_pages)

        def items() -> Iterator[dict[str, Any] | str]:
            while not pages.is_complete:
                yield from pages.take(self.get_conn().run(pages.next_page()))

        return items()

    def call(self, procedure: str, input: Mapping[str, Any] | None = None, *, idempotent: bool | None = None) -> Any:  # noqa: A002 - the platform's own name for it
        """Call a procedure of the RPC API, and return its output (docs/platform-api.md#rpc-api).

        Dates and datetimes in `input` are sent as dates, in UTC and with milliseconds; integers beyond 53 bits are sent
        without loss. In the output, names are in camelCase and dates are ISO 8601 strings; a procedure without a return
        value returns None.

        :param procedure: router and procedure, e.g. ``dataset/getDatasetStats``.
        :param input: names in camelCase and values; JSON types, dates and datetimes (UTC if naive). Default: none.
        :param idempotent: whether the call is safe to retry. Default: None, what is known of the procedure
            (docs/platform-api.md#rpc-writes), and False for an unknown one. If False, a call whose response is lost, or
            is HTTP 404 or 5xx, raises PolyteiaOutcomeUnknownError.
        :raises PolyteiaConfigurationError: if the connection uses the command API, an argument is unusable, or the
            procedure is one that this provider never calls.
        :raises PolyteiaError: see `airflow_provider_polyteia.exceptions`.
        """
        operation = self._rpc_api(procedure).call(procedure, input, idempotent=idempotent)
        return self.get_conn().run(operation)

    def _call(
        self, kind: Kind, method: str, params: Mapping[str, Any] | None, *, idempotent: bool | None = None
    ) -> Any:
        from airflow_provider_polyteia.client import exactly_once  # noqa: PLC0415 - imported when a task runs
        from airflow_provider_polyteia.client.operation import Creation  # noqa: PLC0415 - imported when a task runs

        operation = self._command_api(method).call(kind, method, params, idempotent=idempotent)
        if isinstance(operation, Creation):
            return exactly_once.create_new(self.get_conn(), operation)
        return self.get_conn().run(operation)

    def _command_api(self, method: str) -> CommandAPI:
        self._require_api("command", method, "PolyteiaHook.call or PolyteiaCallOperator with the name of a procedure")
        return cast("CommandAPI", self.api)

    def _rpc_api(self, procedure: str) -> RpcAPI:
        instead = "PolyteiaHook.command, PolyteiaHook.query or their operators with the name of a command or query"
        self._require_api("rpc", procedure, instead)
        return cast("RpcAPI", self.api)

    def _require_api(self, name: str, method: str, instead: str) -> None:
        """Check that the connection uses the API that a raw call is for.

        :raises PolyteiaConfigurationError: if it uses the other one.
        """
        used = self.api.name
        if used != name:
            titles = {"command": "command API", "rpc": "RPC API"}
            raise PolyteiaConfigurationError(
                f"{method!r} belongs to the {titles[name]}, but connection {self.polyteia_conn_id!r} uses the "
                f"{titles[used]}. Use {instead}; or set the extra 'api' to {name!r} if the host serves that API. Other "
                "methods and operators, such as create_dataset, work on both.",
                method=method,
                conn_id=self.polyteia_conn_id,
            )
