"""What `PolyteiaHook` does with dataset records beyond sending one call."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.client.calls import Call, make_call
from airflow_provider_polyteia.exceptions import (
    PolyteiaConfigurationError,
    PolyteiaConflictError,
    PolyteiaOutcomeUnknownError,
)
from airflow_provider_polyteia.hooks.existing import IF_EXISTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_polyteia.client.create import Created
    from airflow_provider_polyteia.hooks.existing import IfExists
    from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook

log = logging.getLogger(__name__)

# An update sends all of these (API reference 4.4): what is left out may be lost.
EDITABLE = ("name", "solution_id", "description", "source", "slug", "documentation")


def reference(dataset_id: str | None, solution_id: str | None, slug: str | None) -> dict[str, str]:
    """Return the params that identify a dataset: ``id``, or ``solution_id`` and ``slug``; never both forms."""
    if dataset_id and not (solution_id or slug):
        return {"id": dataset_id}
    if solution_id and slug and not dataset_id:
        return {"solution_id": solution_id, "slug": slug}
    raise PolyteiaConfigurationError(
        "A dataset is identified by its dataset_id, or by solution_id and slug together; "
        f"given were dataset_id={dataset_id!r}, solution_id={solution_id!r}, slug={slug!r}."
    )


def create(hook: PolyteiaHook, wanted: dict[str, Any], if_exists: IfExists) -> dict[str, Any]:
    """Create a dataset exactly once; `wanted` holds the params that are set."""
    if if_exists not in IF_EXISTS:
        raise PolyteiaConfigurationError(f"if_exists is {if_exists!r}; it must be one of {', '.join(IF_EXISTS)}.")
    for name in ("name", "solution_id", "slug"):
        if not isinstance(wanted.get(name), str) or not wanted[name].strip():
            raise PolyteiaConfigurationError(
                f"A dataset cannot be created without {name!r}; it is {wanted.get(name)!r}.",
                method="create_dataset",
            )
    call = make_call("command", "create_dataset", wanted, needs="id")
    created = hook.get_conn().create(call)
    record: dict[str, Any] = created.record
    known_as = f"{record['id']!r} (slug {record.get('slug')!r})"
    if created.is_new:
        log.info("Dataset %s was created.", known_as)
        return record
    if if_exists == "fail":
        check_new(created, call, hook.polyteia_conn_id)
    differing = _differences(record, wanted)
    if differing and if_exists == "update":
        return update(hook, record, wanted)
    if differing:
        log.warning(
            "Dataset %s is there already and is used as it is, although it has another %s than this task asks for. "
            "Use if_exists='update' to bring it in line.",
            known_as,
            ", ".join(differing),
        )
    else:
        log.info("Dataset %s is there already, and is used.", known_as)
    return record


def check_new(created: Created, call: Call, conn_id: str) -> None:
    """Raise if the resource was there before, or if nobody can tell whether the call has made it."""
    if created.is_new:
        return
    identity = ", ".join(f"{key}={value!r}" for key, value in (call.natural_key or {}).items())
    if created.was_there:
        way_out = ", or use if_exists='reuse' or 'update'" if call.method.name == "create_dataset" else ""
        raise PolyteiaConflictError(
            f"{created.refusal} A look-up shows that {identity} is taken already, by {created.record['id']!r}. Choose "
            f"another slug{way_out}.",
            code=409,
            method=call.method.name,
            conn_id=conn_id,
        ) from created.refusal
    raise PolyteiaOutcomeUnknownError(
        f"Polyteia's {call.method.name!r} (connection {conn_id!r}) got no clear answer. A look-up has found "
        f"{identity} as {created.record['id']!r}, made at about that time: by this call, or by somebody else a "
        "moment before. Look at it in Polyteia and decide.",
        identity=call.identity,
        method=call.method.name,
        conn_id=conn_id,
    )


def update(hook: PolyteiaHook, record: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `changes` (None: leave as it is) into a record that was just read, and send all of it."""
    merged = {name: record[name] for name in EDITABLE if record.get(name) is not None}
    merged |= {name: value for name, value in changes.items() if value is not None}
    answer = hook.command("update_dataset", {"id": record["id"], **merged})
    if isinstance(answer, dict) and answer.get("id") == record["id"]:
        return answer
    return hook.get_dataset(record["id"])  # what an update answers is not documented (API reference 12, no. 24)


def _differences(record: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return [name for name, value in wanted.items() if (record.get(name) or "") != (value or "")]
