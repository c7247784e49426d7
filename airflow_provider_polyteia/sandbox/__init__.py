"""A local emulator of the Polyteia API, called the sandbox, for demos, tests and users' own DAG tests.

It serves the command API or the RPC API over HTTP and stores what it receives. It does not share code with the
provider's client, so that a mistake in one of them cannot hide in the other. ::

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
    """Import `Sandbox` on first use, because the constants do not need the extra."""
    if name != "Sandbox":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from airflow_provider_polyteia.sandbox.optional_dependencies import (  # noqa: PLC0415 - loaded on demand
        require_packages,
    )

    require_packages()
    from airflow_provider_polyteia.sandbox.server import Sandbox  # noqa: PLC0415 - loaded on demand

    return Sandbox
