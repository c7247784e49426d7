"""The base class of all operators of this provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.links.polyteia import LINK_KEY, PolyteiaLink, ids_in, page_url
from airflow_provider_polyteia.provider_info import DEFAULT_CONNECTION
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_0_PLUS, REFUSES_EMPTY_XCOMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

_PLACEHOLDER = re.compile(r"[a-z]+_\.\.\.")  # as in our examples


class PolyteiaOperator(BaseOperator):
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
        self._provided: set[str] = set()

    @cached_property
    def hook(self) -> PolyteiaHook:
        """The hook, created when the task runs."""
        from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook  # noqa: PLC0415 - DAG files load faster without it

        return PolyteiaHook(self.polyteia_conn_id)

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Render templates and remember which arguments were set, because a template may render to an empty value."""
        self._provided = {name for name in self.template_fields if getattr(self, name) is not None}
        super().render_template_fields(context, jinja_env)

    def on_kill(self) -> None:
        """Begin no further attempt."""
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

    def require_text(self, name: str) -> str:
        """Return a string argument that must not be empty after templating.

        :raises PolyteiaConfigurationError: if it is empty (``None`` rendered by a template counts as empty), or the
            placeholder of an example.
        """
        value = getattr(self, name)
        if isinstance(value, str) and _PLACEHOLDER.fullmatch(value):
            raise PolyteiaConfigurationError(
                f"Argument {name!r} of task {self.task_id!r} is still the example placeholder {value!r}. "
                "Replace it with a real id."
            )
        if not isinstance(value, str) or value.strip() in ("", "None"):
            raise PolyteiaConfigurationError(
                f"Argument {name!r} of task {self.task_id!r} is {value!r} after templating; it must be a "
                "non-empty string. If it comes from another task, check what that task returned."
            )
        return value

    def text_or_empty(self, name: str) -> str | None:
        """Return a string argument that may be omitted or empty.

        :raises PolyteiaConfigurationError: if it is not a string, or ``None`` rendered by a template.
        """
        return "" if getattr(self, name) == "" else self.optional_text(name)

    def optional_mapping(self, name: str) -> Mapping[str, Any] | None:
        """Return a mapping argument that may be omitted.

        :raises PolyteiaConfigurationError: if it is something else after templating.
        """
        value = getattr(self, name)
        if isinstance(value, Mapping):
            return value
        if self._is_omitted(name):
            return None
        raise PolyteiaConfigurationError(
            f"Argument {name!r} of task {self.task_id!r} is of type {type(value).__name__} after templating; it must "
            "be a mapping of names to values. A template renders to a mapping only with "
            "render_template_as_native_obj=True."
        )

    def optional_text(self, name: str) -> str | None:
        """Return a string argument that may be omitted; if it is set, it must not render to an empty value.

        :raises PolyteiaConfigurationError: if it does.
        """
        return None if self._is_omitted(name) else self.require_text(name)

    def _is_omitted(self, name: str) -> bool:
        return getattr(self, name) is None and name not in self._provided
