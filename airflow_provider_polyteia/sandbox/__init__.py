"""A local stand-in for the Polyteia platform: for demos, for tests, for users' own DAG tests.

It speaks the documented first-generation API over real sockets and keeps what it is told. It shares no code
with the provider's client, so that the two cannot be wrong together. ::

    from airflow_provider_polyteia.sandbox import Sandbox

    with Sandbox() as sandbox:
        ...  # sandbox.base_url, sandbox.pak

Needs the extra: `pip install "airflow-provider-polyteia[sandbox]"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_polyteia.sandbox.constants import (
    SANDBOX_ORGANIZATION_ID,
    SANDBOX_PAK,
    SANDBOX_SOLUTION_ID,
    SANDBOX_USER_ID,
    SANDBOX_WORKSPACE_ID,
)

if TYPE_CHECKING:
    from airflow_provider_polyteia.sandbox.server import Sandbox as Sandbox

__all__ = [
    "SANDBOX_ORGANIZATION_ID",
    "SANDBOX_PAK",
    "SANDBOX_SOLUTION_ID",
    "SANDBOX_USER_ID",
    "SANDBOX_WORKSPACE_ID",
    "Sandbox",
]


def __getattr__(name: str) -> Any:
    """Load `Sandbox` when it is first asked for: the constants alone need no extra."""
    if name != "Sandbox":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from airflow_provider_polyteia.sandbox.optional_dependencies import require_extras  # noqa: PLC0415 - loaded on demand

    require_extras()
    from airflow_provider_polyteia.sandbox.server import Sandbox  # noqa: PLC0415 - loaded on demand

    return Sandbox
