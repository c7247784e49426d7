"""The sandbox's own JSON interface under `/_sandbox`: for tests that run it as another process. No key needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_polyteia.sandbox.backend import summaries
from airflow_provider_polyteia.sandbox.backend.store import PREFIXES
from airflow_provider_polyteia.sandbox.faults.specs import FaultError, Faults

if TYPE_CHECKING:
    from starlette.requests import Request

_BAD_REQUEST = 400


async def state(request: Request) -> Response:
    """Everything stored: records by kind; datasets with rows, size and checksum of their data."""
    platform = request.app.state.platform
    records: dict[str, Any] = {f"{kind}s": platform.store.all(kind) for kind in (*PREFIXES, "member")}
    records["datasets"] = await summaries.datasets(platform, records["datasets"], checksums=True)
    return JSONResponse(records)


async def requests(request: Request) -> Response:
    """How many calls there were of each name, and how many connections. Holds no secret."""
    recorder = request.app.state.recorder
    return JSONResponse({"counts": dict(recorder.counts), "connections": recorder.connections})


async def clear_requests(request: Request) -> Response:
    """Count anew."""
    request.app.state.recorder.clear()
    return await requests(request)


async def faults(request: Request) -> Response:
    """The active faults, how many calls each has seen, and how many it struck."""
    active: Faults = request.app.state.faults
    listed = [{"fault": fault.spec, "calls": fault.calls, "hits": fault.hits} for fault in active.active]
    return JSONResponse({"faults": listed})


async def add_faults(request: Request) -> Response:
    """Add the faults of a body `{"faults": ["create_dataset:drop-after:1"]}`, all of them or none."""
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
