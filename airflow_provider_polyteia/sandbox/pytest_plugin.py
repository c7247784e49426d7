"""pytest fixture for testing DAGs offline with the sandbox.

Enable it in `conftest.py`::

    pytest_plugins = ["airflow_provider_polyteia.sandbox.pytest_plugin"]

The sandbox serves the command API. To run all tests against both APIs, override the fixture that names the API::

    @pytest.fixture(params=["command", "rpc"])
    def polyteia_sandbox_api(request):
        return request.param
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_polyteia.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def polyteia_sandbox_api() -> str:
    """The API that `polyteia_sandbox` serves: "command" (default) or "rpc"."""
    return "command"


@pytest.fixture
def polyteia_sandbox(polyteia_sandbox_api: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A new running sandbox, to which the Airflow connection `polyteia_default` points.

    Inject faults with `polyteia_sandbox.faults.add("create_dataset:drop-after:1")`, inspect requests with `.requests`
    and `.count("create_dataset")`, and inspect stored data with `.datasets` and `.content(dataset_id)`. On the RPC API,
    the name of a call is `dataset/createDataset`.
    """
    with Sandbox(api=polyteia_sandbox_api) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_POLYTEIA_DEFAULT", sandbox.airflow_connection())
        yield sandbox
