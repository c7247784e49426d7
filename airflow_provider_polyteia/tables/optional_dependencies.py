"""Packages that only some transfers need."""

from __future__ import annotations

from importlib.util import find_spec

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError


def require(module: str, extra: str, purpose: str) -> None:
    """Check that an optional package is there.

    :param module: what it is imported as.
    :param extra: the extra of this package that brings it.
    :param purpose: what it is needed for; begins the error's sentence.
    :raises PolyteiaConfigurationError: if it is not, with the command that installs it.
    """
    if find_spec(module) is None:
        raise PolyteiaConfigurationError(
            f"{purpose} needs the Python package {module!r}, which is not installed on this worker. Install it with: "
            f'pip install "airflow-provider-polyteia[{extra}]"'
        )
