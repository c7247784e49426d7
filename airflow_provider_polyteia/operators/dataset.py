"""Operators for dataset metadata: create, update, delete. The data itself is moved by the transfers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client.datasets import check_if_exists
from airflow_provider_polyteia.operators.base import PolyteiaOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_polyteia.client.datasets import IfExists

# The fields of a record that go to XCom: small, and the same for every dataset. Documentation and metadata may be
# large.
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
    """Base class of the operators that return a dataset's record."""

    def push_record(self, context: Context, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that tasks pass on, and push the id as a separate XCom.

        Only the id is pushed separately: one XCom per field (`multiple_outputs`) takes longer than the command itself.
        """
        fields: dict[str, Any] = self.xcom_value({name: record[name] for name in _XCOM_FIELDS if name in record})
        if self.do_xcom_push and not self.multiple_outputs and "ti" in context:
            context["ti"].xcom_push(key="id", value=fields["id"])
        return fields


class CreateDatasetOperator(_DatasetOperator):
    """Create a dataset exactly once, and return its record; ``create.output["id"]`` feeds the next task.

    The dataset is identified by its solution and slug. The operation is idempotent: retries and later runs return the
    same dataset. Normally it takes a single request.

    :param name: display name (templated).
    :param solution_id: id of its solution, ``sol_...`` (templated).
    :param slug: slug, unique within the solution (templated).
    :param description: free text (templated). Default: none.
    :param source: free text about the origin of the data; nothing is fetched from there (templated). Default: none.
    :param documentation: block document (templated). Default: none.
    :param if_exists: what to do if the dataset already exists: ``"reuse"`` (default) returns it, with a warning if it
        differs; ``"update"`` updates it; ``"fail"`` fails the task immediately.
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
        check_if_exists(if_exists, f"Argument 'if_exists' of task {self.task_id!r}")
        self.name = name
        self.solution_id = solution_id
        self.slug = slug
        self.description = description
        self.source = source
        self.documentation = documentation
        self.if_exists = if_exists

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the dataset."""
        self.check_provided()
        with self.hook:
            self.set_link(context, {"solution_id": self.solution_id})
            record = self.hook.create_dataset(
                name=self.require_text("name"),
                solution_id=self.require_text("solution_id"),
                slug=self.require_text("slug"),
                description=self.text_or_empty("description"),
                source=self.text_or_empty("source"),
                documentation=self.optional_mapping("documentation"),
                if_exists=self.if_exists,
            )
            self.set_link(context, record)
        return self.push_record(context, record)


class UpdateDatasetOperator(_DatasetOperator):
    """Change fields of a dataset's record, and return the record. An omitted argument (None) leaves a field unchanged.

    As with `CreateDatasetOperator`, the id is also pushed as a separate XCom: ``update.output["id"]``.

    :param dataset_id: id of the dataset, ``ds_...`` (templated).
    :param name: new display name (templated). Default: unchanged.
    :param description: new description (templated). Default: unchanged.
    :param source: new text about the origin of the data (templated). Default: unchanged.
    :param slug: new slug (templated). Default: unchanged.
    :param documentation: new block document (templated). Default: unchanged.
    :param source_timestamp: new as-of time of the data (date, datetime or ISO 8601 string, UTC if naive; templated).
        Default: unchanged. Needed only where the RPC API does not show the present one, which an update would erase.
    :param polyteia_conn_id: Airflow connection to Polyteia (templated; default: ``polyteia_default``).
    """

    template_fields: Sequence[str] = (
        "dataset_id",
        "name",
        "description",
        "source",
        "slug",
        "documentation",
        "source_timestamp",
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
        source_timestamp: str | date | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.source_timestamp = source_timestamp
        self.name = name
        self.description = description
        self.source = source
        self.slug = slug
        self.documentation = documentation

    def execute(self, context: Context) -> dict[str, Any]:
        """Update the dataset."""
        self.check_provided()
        with self.hook:
            self.set_link(context, {"dataset_id": self.dataset_id})
            record = self.hook.update_dataset(
                self.require_text("dataset_id"),
                name=self.optional_text("name"),
                description=self.text_or_empty("description"),
                source=self.text_or_empty("source"),
                slug=self.optional_text("slug"),
                documentation=self.optional_mapping("documentation"),
                source_timestamp=self.source_timestamp,
            )
            self.set_link(context, record)
        return self.push_record(context, record)


class DeleteDatasetOperator(PolyteiaOperator):
    """Delete a dataset with its data, identified by its id, or by solution and slug. Requires the dataset's owner.

    Returns True if it was deleted, False if it did not exist.

    :param dataset_id: id of the dataset, ``ds_...`` (templated); or
    :param solution_id: id of its solution (templated), and
    :param slug: slug of the dataset in that solution (templated).
    :param ignore_missing: whether a missing dataset is not an error. Default: False.
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
        self.check_provided()
        with self.hook:
            self.set_link(context, {"dataset_id": self.dataset_id, "solution_id": self.solution_id})
            return self.hook.delete_dataset(
                self.optional_text("dataset_id"),
                solution_id=self.optional_text("solution_id"),
                slug=self.optional_text("slug"),
                ignore_missing=self.ignore_missing,
            )
