"""Finds out whether an upload would be accepted, by procedures that only read.

The state of an ingest is shown only to accounts that may edit its dataset, and the platform checks that before it looks
the ingest up (docs/platform-api.md#rpc-ingests). So HTTP 404 for an ingest that does not exist shows the right to
upload, and HTTP 403 shows that it is missing. What other responses show is unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client import errors
from airflow_provider_polyteia.client.operation import Flow, Operation
from airflow_provider_polyteia.client.records import UploadCheck
from airflow_provider_polyteia.client.rpc_api.protocol import Call, call_flow, make_call
from airflow_provider_polyteia.exceptions import (
    PolyteiaAPIError,
    PolyteiaBadRequestError,
    PolyteiaNotFoundError,
    PolyteiaPermissionError,
    PolyteiaPreconditionError,
)

if TYPE_CHECKING:
    from airflow_provider_polyteia.client.credentials import Credentials
    from airflow_provider_polyteia.client.records import Record

_NO_INGEST = "dsig_preflight_probe"  # the id that the vendor's connector uses for one that cannot exist


def check_upload(credentials: Credentials, record: Record) -> Operation[UploadCheck]:
    """Return the operation that checks the right to edit a dataset, and the terms of its solution."""
    probe = make_call("dataset/getDatasetIngestStatus", {"id": record["id"], "ingestId": _NO_INGEST})

    def start() -> Flow[UploadCheck]:
        may_upload = yield from _may_edit(credentials, probe)
        return UploadCheck(may_upload, (yield from _has_acknowledged(credentials, record.get("solution_id"))))

    return Operation(probe.procedure.name, start, probe.idempotency, probe.identifiers)


def check_creation(credentials: Credentials, solution_id: str) -> Operation[UploadCheck]:
    """Return the operation that checks the right to create a dataset in a solution, and the solution's terms."""
    lookup = make_call("solution/getSolutionById", {"id": solution_id}, required_field="id")
    question = make_call("permission/checkPermission", {"permission": "can_create_dataset", "resourceId": solution_id})

    def start() -> Flow[UploadCheck]:
        yield from call_flow(lookup, credentials)
        event = "reported that the account may not create datasets in the solution"
        may_create = yield from _ask(credentials, question, "allowed", PolyteiaPermissionError, event)
        return UploadCheck(may_create, (yield from _has_acknowledged(credentials, solution_id)))

    return Operation(lookup.procedure.name, start, lookup.idempotency, lookup.identifiers)


def _may_edit(credentials: Credentials, probe: Call) -> Flow[bool | None]:
    """Return True if the account may edit the dataset, None if that is not known.

    :raises PolyteiaPermissionError: if it may not.
    """
    try:
        yield from call_flow(probe, credentials)
    except PolyteiaNotFoundError as error:
        # If the platform does not have the procedure, the response is not in its own form.
        return None if error.from_gateway else True
    except PolyteiaBadRequestError:
        return None
    return True


def _has_acknowledged(credentials: Credentials, solution_id: Any) -> Flow[bool | None]:
    """Return True if the terms are acknowledged (docs/platform-api.md#rpc-terms), None if that is not known.

    :raises PolyteiaPreconditionError: if they are not.
    """
    if not isinstance(solution_id, str):
        return None
    call = make_call("dpa/getMyAcceptanceStatus", {"solutionId": solution_id})
    event = "reported that the data-processing terms of the solution are not acknowledged"
    return (yield from _ask(credentials, call, "acknowledged", PolyteiaPreconditionError, event))


def _ask(
    credentials: Credentials, call: Call, field: str, rejection: type[PolyteiaAPIError], event: str
) -> Flow[bool | None]:
    """Return True if a field of the output is true, None if that is not known.

    :param rejection: exception that is raised if it is false.
    :param event: what happened then.
    """
    try:
        data = (yield from call_flow(call, credentials)).data
    except (PolyteiaBadRequestError, PolyteiaPermissionError, PolyteiaNotFoundError):
        return None  # the question was rejected, which shows nothing about an upload
    value = data.get(field) if isinstance(data, dict) else None
    if value is False:
        raise errors.foreseen_rejection(rejection, credentials, call.procedure.name, event, call.identifiers)
    return True if value is True else None
