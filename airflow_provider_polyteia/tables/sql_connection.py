"""Connections to SQL databases, whose hooks come from other providers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException, BaseHook

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, log_cause

if TYPE_CHECKING:
    from collections.abc import Mapping


def get_hook(conn_id: str, hook_params: Mapping[str, Any] | None) -> Any:
    """Return the hook of a connection to a SQL database.

    :raises PolyteiaConfigurationError: if it does not exist, has no hook, or is not to a SQL database.
    """
    try:
        connection: Any = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise PolyteiaConfigurationError(
            f"Connection {conn_id!r}, from which the rows should be read, does not exist. Create it under Admin -> "
            "Connections.",
            conn_id=conn_id,
        ) from None
    try:
        hook = connection.get_hook(hook_params=dict(hook_params or {}))
    except (AirflowException, AttributeError, ImportError) as error:  # Airflow raises any of these if it has no hook
        log_cause(error)
        raise PolyteiaConfigurationError(
            f"Connection {conn_id!r} has the type {connection.conn_type!r}, but no hook is installed for it. "
            "Install the Airflow provider for this database and restart Airflow.",
            conn_id=conn_id,
        ) from None
    if not hasattr(hook, "get_cursor"):
        raise PolyteiaConfigurationError(
            f"Connection {conn_id!r} uses {type(hook).__name__}, which is not a SQL database hook."
        )
    return hook
