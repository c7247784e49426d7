"""The base class of all operators of this provider."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.links.polyteia import LINK_KEY, PolyteiaLink, ids_in, page_url
from airflow_provider_polyteia.operators.arguments import CheckedOperator
from airflow_provider_polyteia.provider_info import DEFAULT_CONNECTION
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_0_PLUS, REFUSES_EMPTY_XCOMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook


class PolyteiaOperator(CheckedOperator):
    """Base class of the operators: the connection, the hook, the link, and what happens when the task is killed.

    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).

    :ivar polyteia_link: URL of the link *Open in Polyteia*; empty until an id is known.
    """

    template_fields: Sequence[str] = ("polyteia_conn_id",)
    operator_extra_links = (PolyteiaLink(),)
    ui_color = "#e4e0fa"
    ui_fgcolor = "#1f009d"
    # Airflow 3 asks for the link in the task's own process, when it ends, so pushing an XCom would be a wasted request.
    pushes_link = not AIRFLOW_V_3_0_PLUS

    def __init__(self, *, polyteia_conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.polyteia_conn_id = polyteia_conn_id
        self.polyteia_link = ""

    @cached_property
    def hook(self) -> PolyteiaHook:
        """The hook, created when the task runs."""
        from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook  # noqa: PLC0415 - DAG files load faster without it

        return PolyteiaHook(self.polyteia_conn_id)

    def on_kill(self) -> None:
        """End the running request, and begin no further one.

        Airflow calls this in a signal handler. The request ends with an exception that the handler raises in it.
        """
        if "hook" in self.__dict__:
            self.hook.cancel()

    def set_link(self, context: Context, *records: Mapping[str, object]) -> None:
        """Set the task's link to what these records or parameters identify; called as soon as an id is known."""
        ids = {kind: value for record in records for kind, value in ids_in(record).items()}
        if not ids or "ti" not in context:
            return
        config = self.hook.get_conn().config
        url = page_url(config.base_url, config.ui_url, ids)
        if url != self.polyteia_link:
            self.polyteia_link = url
            if self.pushes_link:
                context["ti"].xcom_push(key=LINK_KEY, value=url)

    def xcom_value(self, data: Any) -> Any:
        """Return a result in the form in which this Airflow can store it.

        Whatever the platform returned is made encodable first, and Airflow 3.0 rejects XComs that are None.
        """
        from airflow_provider_polyteia.client.json_values import to_encodable  # noqa: PLC0415 - DAG files load faster without it

        value = to_encodable(data)
        if REFUSES_EMPTY_XCOMS and self.multiple_outputs and isinstance(value, dict):
            return {name: item for name, item in value.items() if item is not None}
        return value
