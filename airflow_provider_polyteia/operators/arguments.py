"""The arguments of operators: which of them were set, and what they are after templating."""

from __future__ import annotations

import copy
import inspect
import logging
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)

_PLACEHOLDER = re.compile(r"[a-z]+_\.\.\.")  # as in our examples
_PACKAGE = __name__.partition(".")[0]


class CheckedOperator(BaseOperator):
    """Base class of operators that tell an omitted argument from one that became None, and keep text as text.

    An argument was set if it is not None before templating, or if a mapped task got it from `expand` or
    `expand_kwargs`: Airflow resolves these before it calls `__init__`, and renders the other arguments afterwards.

    A template field is text unless `template_fields_renderers` shows it as JSON. Text is never converted to Python
    objects, also with ``render_template_as_native_obj=True``, which makes a number of ``"2026_01"``.

    :cvar lists_of_names: template fields whose elements are text; a template for a whole list may be converted.
    """

    lists_of_names: Sequence[str] = ()

    _provided: set[str]
    _keeps_text = False

    def __new__(cls, *_: Any, **kwargs: Any) -> Self:
        """Remember which of a mapped task's arguments are None; those from `partial` are not among them."""
        task = super().__new__(cls)
        is_mapped = kwargs.get("_airflow_from_mapped", False)
        provided = {name for name, value in kwargs.items() if value is None and name in cls._own_arguments()}
        vars(task)["_provided"] = provided if is_mapped else set()
        return task

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._provided = vars(self).pop("_provided")  # Airflow 2 copies attributes in order, its own must come first

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Return Airflow's partial operator. An argument that is None counts as omitted, as without mapping."""
        omitted = {name for name in cls._own_arguments() if kwargs.get(name, "") is None}
        return super().partial(**{name: value for name, value in kwargs.items() if name not in omitted})

    @classmethod
    @cache
    def _own_arguments(cls) -> frozenset[str]:
        """Return the names of the arguments that this provider adds to Airflow's."""
        ours = [kind for kind in cls.__mro__ if kind.__module__.partition(".")[0] == _PACKAGE]
        parameters = [inspect.signature(vars(kind)["__init__"]).parameters for kind in ours if "__init__" in vars(kind)]
        return frozenset(name for found in parameters for name, p in found.items() if p.kind is p.KEYWORD_ONLY)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        """Render templates, text as text. Airflow calls this for mapped tasks too, unlike `render_template_fields`."""
        names = list(template_fields)
        texts: list[str] = []
        if parent is self:
            self._provided |= {name for name in self._own_arguments() if getattr(self, name) is not None}
            texts = [name for name in names if self._is_text(name)]
        others = [name for name in names if name not in texts]
        super()._do_render_template_fields(parent, others, context, jinja_env, seen_oids)
        self._keeps_text = True
        try:
            super()._do_render_template_fields(parent, texts, context, jinja_env, seen_oids)
        finally:
            self._keeps_text = False

    def _is_text(self, name: str) -> bool:
        if name not in self._own_arguments():
            return False
        is_list = name in self.lists_of_names and not isinstance(getattr(self, name), str)
        return is_list or self.template_fields_renderers.get(name) != "json"

    def _render(self, template: Any, context: Context, dag: Any = None) -> Any:
        """Render one template: text as Airflow does without native rendering, but with a template made for that."""
        if not self._keeps_text:
            return super()._render(template, context, dag)
        variables: Any = copy.copy(context)  # not a dict: this would compute all that Airflow only computes on access
        variables.update({name: value for name, value in template.globals.items() if name not in context})
        environment = template.environment
        made = environment.context_class(environment, variables, template.name, template.blocks)
        return "".join(str(node) for node in template.root_render_func(made))

    def check_provided(self) -> None:
        """Check that no argument that was set is None after templating, before anything is sent.

        :raises PolyteiaConfigurationError: if one is, or is ``None`` rendered by a template.
        """
        for name in sorted(self._provided):
            value = getattr(self, name)
            if value is None or (isinstance(value, str) and value.strip() == "None"):
                raise PolyteiaConfigurationError(
                    f"Argument {name!r} of task {self.task_id!r} is {value!r} after templating. If it comes from "
                    "another task, check what that task returned. To leave an argument out, do not set it; in "
                    "expand_kwargs, leave out its key."
                )

    def require_text(self, name: str) -> str:
        """Return a string argument that must not be empty after templating. An integer or a date becomes its text.

        :raises PolyteiaConfigurationError: if it is empty (``None`` rendered by a template counts as empty), or the
            placeholder of an example.
        """
        value = self._to_text(name)
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

    def optional_text(self, name: str) -> str | None:
        """Return a string argument that may be omitted; if it is set, it must not render to an empty value.

        :raises PolyteiaConfigurationError: if it does.
        """
        return None if self._is_omitted(name) else self.require_text(name)

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

    def _is_omitted(self, name: str) -> bool:
        return getattr(self, name) is None and name not in self._provided

    def _to_text(self, name: str) -> Any:
        """Return an argument, as its text if it is a number or a date from another task.

        :raises PolyteiaConfigurationError: if it is a floating-point number, whose text is not known.
        """
        value = getattr(self, name)
        if isinstance(value, float):
            raise PolyteiaConfigurationError(
                f"Argument {name!r} of task {self.task_id!r} is the number {value!r} after templating; it must be a "
                "string. Convert it where it is made: leading zeros and decimal places of its text may have been lost."
            )
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            log.info("Argument %r is the number %s; leading zeros of its text may have been lost.", name, value)
            return str(value)
        return str(value) if isinstance(value, date) else value
