"""Apache Airflow provider for Polyteia."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

__all__ = ["__version__", "get_provider_info"]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata (the `apache_airflow_provider` entry point)."""
    from airflow_provider_polyteia.provider_info import PROVIDER_INFO  # noqa: PLC0415 - read on demand

    return PROVIDER_INFO
