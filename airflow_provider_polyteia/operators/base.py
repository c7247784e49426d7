"""What all operators of this provider share."""

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

_PLACEHOLDER = re.compile(r"[a-z]+_\.\.\.")  # as in all our examples


class PolyteiaOperator(BaseOperator):
    """Base of the operators: the connection, the hook, and what happens when the task is killed.

    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).

    :ivar polyteia_link: where the link *Open in Polyteia* leads to; empty until an id is known.
    """

    template_fields: Sequence[str] = ("polyteia_conn_id",)
    operator_extra_links = (PolyteiaLink(),)
    ui_color = "#e4e0fa"
    ui_fgcolor = "#1f009d"
    # Airflow 3 asks for the link in the task's own process, when it ends; an XCom would be a request for nothing.
    pushes_link = not AIRFLOW_V_3_0_PLUS

    def __init__(self, *, polyteia_conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.polyteia_conn_id = polyteia_conn_id
        self.polyteia_link = ""
        self._given: set[str] = set()

    @cached_property
    def hook(self) -> PolyteiaHook:
        """The hook, made when the task runs."""
        from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook  # noqa: PLC0415 - DAG files load faster without

        return PolyteiaHook(self.polyteia_conn_id)

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Render, and remember which arguments were given: a template may render to nothing."""
        self._given = {name for name in self.template_fields if getattr(self, name) is not None}
        super().render_template_fields(context, jinja_env)

    def on_kill(self) -> None:
        """Begin no further attempt."""
        if "hook" in self.__dict__:
            self.hook.cancel()

    def link_to(self, context: Context, *records: Mapping[str, object]) -> None:
        """Let the task's link lead to what these records or parameters name; called as soon as an id is known."""
        ids = {kind: value for record in records for kind, value in ids_in(record).items()}
        if not ids or "ti" not in context:
            return
        config = self.hook.get_conn().config
        url = page_url(config.base_url, config.ui_url, ids)
        if url != self.polyteia_link:
            self.polyteia_link = url
            if self.pushes_link:
                context["ti"].xcom_push(key=LINK_KEY, value=url)

    def outputs(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return a result as this Airflow can hand it on: in 3.0 no XCom may be None."""
        if REFUSES_EMPTY_XCOMS and self.multiple_outputs:
            return {name: value for name, value in fields.items() if value is not None}
        return dict(fields)

    def required(self, name: str) -> str:
        """Return a text argument that must not be empty after templating.

        :raises PolyteiaConfigurationError: if it is; ``None`` rendered by a template counts as empty. Or if it is
            a placeholder from an example.
        """
        value = getattr(self, name)
        if isinstance(value, str) and _PLACEHOLDER.fullmatch(value):
            raise PolyteiaConfigurationError(
                f"Argument {name!r} of task {self.task_id!r} is still the placeholder {value!r} of an example; "
                "put an id of yours there."
            )
        if not isinstance(value, str) or value.strip() in ("", "None"):
            raise PolyteiaConfigurationError(
                f"Argument {name!r} of task {self.task_id!r} is {value!r} after templating; it must be a text that "
                "is not empty. If it comes from another task, look at what that task has returned."
            )
        return value

    def text(self, name: str) -> str | None:
        """Return a text argument that may be left out, or be empty.

        :raises PolyteiaConfigurationError: if it is no text, or ``None`` rendered by a template.
        """
        return "" if getattr(self, name) == "" else self.given(name)

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """Return an argument that may be left out, and is a mapping otherwise.

        :raises PolyteiaConfigurationError: if it is something else after templating.
        """
        value = getattr(self, name)
        if isinstance(value, Mapping):
            return value
        if self._is_left_out(name):
            return None
        raise PolyteiaConfigurationError(
            f"Argument {name!r} of task {self.task_id!r} is a {type(value).__name__} after templating; it must be "
            "a mapping of names to values. A template renders to one only with render_template_as_native_obj=True."
        )

    def given(self, name: str) -> str | None:
        """Return a text argument that may be left out; what is given must not render to nothing."""
        return None if self._is_left_out(name) else self.required(name)

    def _is_left_out(self, name: str) -> bool:
        return getattr(self, name) is None and name not in self._given
