"""Operators for dataset records: create, update, delete. Content is moved by the transfers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError
from airflow_provider_polyteia.hooks.existing import IF_EXISTS
from airflow_provider_polyteia.operators.base import PolyteiaOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_polyteia.hooks.existing import IfExists

# What of a record goes to XCom: small, and the same for every dataset. Documentation and metadata may be large.
_XCOM_FIELDS = (
    "id",
    "organization_id",
    "solution_id",
    "slug",
    "name",
    "description",
    "source",
    "created_at",
    "updated_at",
)


class _DatasetOperator(PolyteiaOperator):
    """What the operators that return a dataset's record share."""

    def hand_on(self, context: Context, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that tasks pass on, and make the id an XCom of its own.

        Not each field, as `multiple_outputs` does: an XCom takes longer than the command, on a fast network.
        """
        if self.do_xcom_push and not self.multiple_outputs and "ti" in context:
            context["ti"].xcom_push(key="id", value=record["id"])
        return self.outputs({name: record[name] for name in _XCOM_FIELDS if name in record})


class CreateDatasetOperator(_DatasetOperator):
    """Create a dataset exactly once, and return its record; ``create.output["id"]`` feeds the next task.

    The dataset is identified by solution and slug. However often this task, its retries or tomorrow's run are
    executed, there is one dataset. The ordinary case is a single request.

    :param name: shown to people (templated).
    :param solution_id: the solution it belongs to, ``sol_...`` (templated).
    :param slug: unique within the solution (templated).
    :param description: free text (templated).
    :param source: free text about where the data comes from; nothing is fetched from there (templated).
    :param documentation: block document (templated).
    :param if_exists: what to do with a dataset that was there before: ``"reuse"`` (default) returns it, with a warning
        if it differs; ``"update"`` brings it in line; ``"fail"`` fails the task at once.
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = (
        "name",
        "solution_id",
        "slug",
        "description",
        "source",
        "documentation",
        "polyteia_conn_id",
    )
    template_fields_renderers = {"documentation": "json"}  # noqa: RUF012 - Airflow's own declaration is a plain dict

    def __init__(
        self,
        *,
        name: str,
        solution_id: str,
        slug: str,
        description: str | None = None,
        source: str | None = None,
        documentation: Mapping[str, Any] | None = None,
        if_exists: IfExists = "reuse",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if if_exists not in IF_EXISTS:
            raise PolyteiaConfigurationError(
                f"Argument 'if_exists' of task {self.task_id!r} is {if_exists!r}; it must be one of "
                f"{', '.join(IF_EXISTS)}."
            )
        self.name = name
        self.solution_id = solution_id
        self.slug = slug
        self.description = description
        self.source = source
        self.documentation = documentation
        self.if_exists = if_exists

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the dataset."""
        with self.hook:
            self.link_to(context, {"solution_id": self.solution_id})
            record = self.hook.create_dataset(
                name=self.required("name"),
                solution_id=self.required("solution_id"),
                slug=self.required("slug"),
                description=self.text("description"),
                source=self.text("source"),
                documentation=self.mapping("documentation"),
                if_exists=self.if_exists,
            )
            self.link_to(context, record)
        return self.hand_on(context, record)


class UpdateDatasetOperator(_DatasetOperator):
    """Change fields of a dataset's record, and return the record. What is left out (None) stays as it is.

    As of `CreateDatasetOperator`, the id is an XCom of its own: ``update.output["id"]``.

    :param dataset_id: the dataset, ``ds_...`` (templated).
    :param name: new name (templated).
    :param description: new description (templated).
    :param source: new text about where the data comes from (templated).
    :param slug: new slug (templated).
    :param documentation: new block document (templated).
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = (
        "dataset_id",
        "name",
        "description",
        "source",
        "slug",
        "documentation",
        "polyteia_conn_id",
    )
    template_fields_renderers = {"documentation": "json"}  # noqa: RUF012 - Airflow's own declaration is a plain dict

    def __init__(
        self,
        *,
        dataset_id: str,
        name: str | None = None,
        description: str | None = None,
        source: str | None = None,
        slug: str | None = None,
        documentation: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.name = name
        self.description = description
        self.source = source
        self.slug = slug
        self.documentation = documentation

    def execute(self, context: Context) -> dict[str, Any]:
        """Update the dataset."""
        with self.hook:
            self.link_to(context, {"dataset_id": self.dataset_id})
            record = self.hook.update_dataset(
                self.required("dataset_id"),
                name=self.given("name"),
                description=self.text("description"),
                source=self.text("source"),
                slug=self.given("slug"),
                documentation=self.mapping("documentation"),
            )
            self.link_to(context, record)
        return self.hand_on(context, record)


class DeleteDatasetOperator(PolyteiaOperator):
    """Delete a dataset with its data, found by its id, or by solution and slug. Only its owner may.

    Returns True if it was deleted, False if it was not there.

    :param dataset_id: the dataset, ``ds_...`` (templated).
    :param solution_id: its solution, if it is found by its slug (templated).
    :param slug: its slug, if it is found by it (templated).
    :param ignore_missing: whether a dataset that is not there is fine (default: no).
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = ("dataset_id", "solution_id", "slug", "polyteia_conn_id")

    def __init__(
        self,
        *,
        dataset_id: str | None = None,
        solution_id: str | None = None,
        slug: str | None = None,
        ignore_missing: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.solution_id = solution_id
        self.slug = slug
        self.ignore_missing = ignore_missing

    def execute(self, context: Context) -> bool:
        """Delete the dataset."""
        with self.hook:
            self.link_to(context, {"dataset_id": self.dataset_id, "solution_id": self.solution_id})
            return self.hook.delete_dataset(
                self.given("dataset_id"),
                solution_id=self.given("solution_id"),
                slug=self.given("slug"),
                ignore_missing=self.ignore_missing,
            )
