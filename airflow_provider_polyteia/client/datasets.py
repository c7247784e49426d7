"""What takes several operations on a dataset: create or reuse, read and update, find and delete, upload and wait."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_polyteia.client.records import DatasetRef, Record, is_same
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError, PolyteiaNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_polyteia.client.api import PlatformAPI
    from airflow_provider_polyteia.client.records import Upload, UploadCheck
    from airflow_provider_polyteia.client.transports.requests_client import PolyteiaClient
    from airflow_provider_polyteia.client.upload_condition import UploadCondition

log = logging.getLogger(__name__)

INGEST_TIMEOUT = 1800.0
INGEST_POLL_INTERVAL = 5.0

IfExists = Literal["reuse", "update", "fail"]


def check_if_exists(if_exists: str, where: str = "if_exists") -> None:
    """Check the argument `if_exists`.

    :param where: what the exception calls it.
    :raises PolyteiaConfigurationError: if it is not one of the allowed values.
    """
    if if_exists not in get_args(IfExists):
        raise PolyteiaConfigurationError(
            f"{where} is {if_exists!r}; it must be one of {', '.join(get_args(IfExists))}."
        )


def create_dataset(client: PolyteiaClient, api: PlatformAPI, fields: Mapping[str, Any], if_exists: IfExists) -> Record:
    """Create a dataset exactly once; see `PolyteiaHook.create_dataset`.

    :param fields: the fields that are set.
    """
    from airflow_provider_polyteia.client import exactly_once  # noqa: PLC0415 - imports tenacity, and DAG files import this

    check_if_exists(if_exists)
    for name in ("name", "solution_id", "slug"):
        if not isinstance(fields.get(name), str) or not fields[name].strip():
            raise PolyteiaConfigurationError(
                f"{name!r} is required to create a dataset; got {fields.get(name)!r}.", method="create_dataset"
            )
    creation = api.create_dataset(fields)
    advice = "Choose a different slug, or use if_exists='reuse' or 'update'."
    if if_exists == "fail":
        exactly_once.require_absent(client, creation, advice)
    created = exactly_once.create(client, creation)
    record = created.record
    excerpt = client.credentials.excerpt
    label = f"{excerpt(record['id'])!r} (slug {excerpt(record.get('slug'))!r})"
    if created.is_new:
        log.info("Created dataset %s.", label)
        return record
    if if_exists == "fail":
        exactly_once.require_new(client, created, creation, advice)
    differing = _differences(record, fields)
    if differing and if_exists == "update":
        return update_dataset(client, api, record, fields)
    visible = [name for name in differing if not is_same(record.get(name), fields[name])]
    if visible:
        log.warning(
            "Dataset %s already exists and is reused. Its %s differs from this task's, and is kept. Use "
            "if_exists='update' to update it.",
            label,
            ", ".join(visible),
        )
    else:
        log.info("Dataset %s already exists and is reused.", label)
    return record


def update_dataset(
    client: PolyteiaClient,
    api: PlatformAPI,
    record: Record,
    changes: Mapping[str, Any],
    source_timestamp: str | None = None,
) -> Record:
    """Merge `changes` (None leaves a field unchanged) into a record that was just read, and send all of it."""
    given = {name: value for name, value in changes.items() if value is not None}
    updated = client.run(api.update_dataset(record, given, source_timestamp))
    if isinstance(updated, dict) and updated.get("id") == record["id"]:
        return updated
    return client.run(api.get_dataset(DatasetRef(record["id"])))


def delete_dataset(client: PolyteiaClient, api: PlatformAPI, dataset: DatasetRef, *, ignore_missing: bool) -> bool:
    """Delete a dataset; see `PolyteiaHook.delete_dataset`.

    :return: whether it was deleted.
    """
    try:
        client.run(api.delete_dataset(dataset.dataset_id or client.run(api.get_dataset(dataset))["id"]))
    except PolyteiaNotFoundError as error:
        if error.from_gateway or not ignore_missing:  # a gateway's 404 says nothing about the dataset
            raise
        return False
    return True


def check_upload(client: PolyteiaClient, api: PlatformAPI, dataset: DatasetRef) -> tuple[Record | None, UploadCheck]:
    """Return the record of a dataset, and whether an upload would be accepted; see `PolyteiaHook.check_upload`."""
    try:
        record = client.run(api.get_dataset(dataset))
    except PolyteiaNotFoundError as error:
        if error.from_gateway or dataset.solution_id is None:  # a gateway's 404 says nothing about the dataset
            raise
        return None, client.run(api.check_creation(dataset.solution_id))
    return record, client.run(api.check_upload(record))


def wait_for_upload(
    client: PolyteiaClient, api: PlatformAPI, condition: UploadCondition, *, timeout: float, poll_interval: float
) -> Upload:
    """Poll a dataset until it shows an upload; see `PolyteiaHook.wait_for_upload`."""
    api.check_condition(condition)
    deadline = client.clock() + timeout
    while True:
        upload = api.last_upload(client.run(api.get_dataset(condition.dataset)), condition)
        if upload is not None and condition.matches(upload):
            return upload
        if client.clock() + poll_interval > deadline:
            raise PolyteiaError(
                f"The upload to dataset {condition.dataset} (connection {client.config.conn_id!r}) did not become "
                f"visible within {timeout:g} s. The platform may still be ingesting the data.",
                method="get_dataset",
                conn_id=client.config.conn_id,
            )
        client.sleep(poll_interval)


def wait_for_ingest(
    client: PolyteiaClient, api: PlatformAPI, dataset_id: str, ingest_id: str, *, timeout: float, poll_interval: float
) -> None:
    """Poll an ingest until it is completed; see `PolyteiaHook.wait_for_ingest`."""
    from airflow_provider_polyteia.client.ingest import IngestWait  # noqa: PLC0415 - imports tenacity

    conn_id, clock = client.config.conn_id, client.clock
    wait = IngestWait(dataset_id, ingest_id, conn_id, timeout=timeout, poll_interval=poll_interval, clock=clock)
    query = api.ingest_status(dataset_id, ingest_id)
    while True:
        client.sleep(wait.next_delay())
        try:
            # One attempt per poll, because the wait itself polls again.
            if wait.is_completed(client.run(query, deadline=client.clock())):
                return
        except PolyteiaError as error:
            wait.record_failure(error)


def _differences(record: Record, fields: Mapping[str, Any]) -> list[str]:
    return [name for name, value in fields.items() if (record.get(name) or "") != (value or "")]
