"""pytest fixture for testing DAGs offline with the sandbox.

Enable it in `conftest.py`::

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
    """A new running sandbox, to which the Airflow connection `polyteia_default` points.

    Inject faults with `polyteia_sandbox.faults.add("create_dataset:drop-after:1")`, inspect requests with `.requests`
    and `.count("create_dataset")`, and inspect stored data with `.datasets` and `.content(dataset_id)`.
    """
    with Sandbox() as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", sandbox.airflow_connection())
        yield sandbox
