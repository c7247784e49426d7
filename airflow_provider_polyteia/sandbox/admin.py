"""JSON interface of the sandbox under `/_sandbox`, for tests that run it in another process. It needs no key.

`request_guard` rejects changes that pages of other sites request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_polyteia.sandbox.backend import summaries
from airflow_provider_polyteia.sandbox.backend.store import PREFIXES
from airflow_provider_polyteia.sandbox.faults import FaultError, Faults

if TYPE_CHECKING:
    from starlette.requests import Request

_BAD_REQUEST = 400


async def state(request: Request) -> Response:
    """Return all records by kind; datasets with row count, size and checksum of their data."""
    platform = request.app.state.platform
    records: dict[str, Any] = {f"{kind}s": platform.store.all(kind) for kind in (*PREFIXES, "member")}
    records["datasets"] = await summaries.summarize_datasets(platform, records["datasets"], checksums=True)
    return JSONResponse(records)


async def requests(request: Request) -> Response:
    """Return the number of calls by name and the number of connections. Contains no secrets."""
    recorder = request.app.state.recorder
    return JSONResponse({"counts": dict(recorder.counts), "connections": recorder.connections})


async def clear_requests(request: Request) -> Response:
    """Reset the counts of calls."""
    request.app.state.recorder.clear()
    return await requests(request)


async def faults(request: Request) -> Response:
    """Return the active faults, each with the number of its calls and hits."""
    active: Faults = request.app.state.faults
    listed = [{"fault": fault.spec, "calls": fault.calls, "hits": fault.hits} for fault in active.active]
    return JSONResponse({"faults": listed})


async def add_faults(request: Request) -> Response:
    """Add the faults of a body such as `{"faults": ["create_dataset:drop-after:1"]}`. Adds none if one is invalid."""
    try:
        specs = (await request.json())["faults"]
        request.app.state.faults.add(*map(str, specs))
    except FaultError as error:
        return JSONResponse({"error": str(error)}, status_code=_BAD_REQUEST)
    except (ValueError, TypeError, KeyError):
        return JSONResponse({"error": 'expected {"faults": ["<fault>", ...]}'}, status_code=_BAD_REQUEST)
    return await faults(request)


async def clear_faults(request: Request) -> Response:
    """Remove all faults."""
    request.app.state.faults.clear()
    return await faults(request)


ROUTES = [
    Route("/_sandbox/state", state, methods=["GET"]),
    Route("/_sandbox/requests", requests, methods=["GET"]),
    Route("/_sandbox/requests", clear_requests, methods=["DELETE"]),
    Route("/_sandbox/faults", faults, methods=["GET"]),
    Route("/_sandbox/faults", add_faults, methods=["POST"]),
    Route("/_sandbox/faults", clear_faults, methods=["DELETE"]),
]
