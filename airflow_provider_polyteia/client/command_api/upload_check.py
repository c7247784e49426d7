"""Finds out whether an upload would be accepted, by queries, which only read.

An upload begins with a command that issues a token. What else it does is unknown, so it is not tried: only the list of
the datasets that the account can edit shows the right to upload (docs/platform-api.md#resource-lists). Whether terms
must be acknowledged cannot be asked.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client.command_api.protocol import make_call, request_flow
from airflow_provider_polyteia.client.operation import Flow, Operation
from airflow_provider_polyteia.client.records import UploadCheck
from airflow_provider_polyteia.exceptions import (
    PolyteiaBadRequestError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
    PolyteiaServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.operation import Listing
    from airflow_provider_polyteia.client.records import Record

log = logging.getLogger(__name__)

# The platform reports some rejected requests as error 500 inside HTTP 200 (docs/platform-api.md#error-codes).
_REFUSALS = (PolyteiaBadRequestError, PolyteiaPermissionError, PolyteiaNotFoundError, PolyteiaServerError)


def editable_datasets(record: Record) -> dict[str, Any]:
    """Return the params of the list in which a dataset is if the account can edit it."""
    solution_id = record.get("solution_id")
    filters = [{"container_id": solution_id}] if solution_id else []
    return {"resource_type": "dataset", "permission": "can_edit", "filters": filters, "search": "", "tags": []}


def check_upload(open_list: Callable[[], Listing], record: Record) -> Operation[UploadCheck]:
    """Return the operation that looks for a dataset in the list of those that the account can edit.

    :param open_list: begins this list, whose params are those of `editable_datasets`.
    """
    dataset_id = record["id"]

    def start() -> Flow[UploadCheck]:
        try:
            is_listed = yield from _is_listed(open_list(), dataset_id)
        except _REFUSALS as error:
            if error.from_gateway:
                raise
            log.warning("Whether dataset %r can be edited is not known: %s", dataset_id, error)
            return UploadCheck(None, None)
        # A list may be incomplete, so a dataset that it lacks may be editable all the same.
        return UploadCheck(True if is_listed else None, None)

    first = open_list().next_page()
    return Operation(first.name, start, first.idempotency, {"id": dataset_id})


def _is_listed(listing: Listing, dataset_id: str) -> Flow[bool]:
    while not listing.is_complete:
        if dataset_id in listing.take((yield from listing.next_page().start())):
            return True
    return False


def check_creation(credentials: Credentials, solution_id: str) -> Operation[UploadCheck]:
    """Return the operation that looks a solution up. All of its members can create datasets in it, but it does not show
    whether the account is one of them (docs/platform-api.md#permissions).
    """
    lookup = make_call("query", "get_solution", {"id": solution_id}, required_field="id")

    def start() -> Flow[UploadCheck]:
        yield from request_flow(lookup, credentials)
        return UploadCheck(None, None)

    return Operation(lookup.method.name, start, lookup.idempotency, lookup.identifiers)
