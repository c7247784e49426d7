"""pytest fixture for testing DAGs offline, against a sandbox of one's own.

Switch it on in `conftest.py`::

    pytest_plugins = ["airflow_provider_polyteia.sandbox.pytest_plugin"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_polyteia.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def polyteia_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A fresh running sandbox, to which the Airflow connection `polyteia_default` points.

    Let calls go wrong with `polyteia_sandbox.faults.add("create_dataset:drop-after:1")`, see what was asked with
    `.requests` and `.count("create_dataset")`, and what is stored with `.datasets` and `.content(dataset_id)`.
    """
    with Sandbox() as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", sandbox.airflow_connection())
        yield sandbox
