"""What a plain `pip install airflow-provider-polyteia` must do: the hook and the operators work, without any extra.

Run by the matrix from a copy of the project without the package, in an environment without extras and test tools.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp()
sys.path.insert(0, "tests")

from servers import KEY, ScriptedServer, data

from airflow_provider_polyteia import get_provider_info
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.operators.dataset import CreateDatasetOperator

DATASET = {"id": "ds_1", "name": "Bookings", "slug": "bookings", "solution_id": "sol_1"}


def main() -> None:
    import_all()
    use_hook_and_operator()
    ask_for_the_sandbox()
    print("A plain installation works.")


def import_all() -> None:
    """Import every module that the provider info names."""
    info = get_provider_info()
    kinds = [entry for kind in ("hooks", "operators", "sensors", "triggers") for entry in info.get(kind, [])]
    names = [name for entry in kinds for name in entry["python-modules"]]
    names += [transfer["python-module"] for transfer in info.get("transfers", [])]
    for name in names:
        importlib.import_module(name)


def use_hook_and_operator() -> None:
    """Create a dataset and read it, with a server on this machine."""
    with ScriptedServer() as server:
        connection = {"conn_type": "polyteia", "host": server.url, "password": KEY}
        os.environ["AIRFLOW_CONN_POLYTEIA_DEFAULT"] = json.dumps(connection)
        server.respond(data(DATASET))
        create = CreateDatasetOperator(task_id="create", name="Bookings", solution_id="sol_1", slug="bookings")
        assert create.execute({})["id"] == "ds_1"
        server.respond(data(DATASET))
        with PolyteiaHook() as hook:
            assert hook.get_dataset("ds_1") == DATASET


def ask_for_the_sandbox() -> None:
    """What needs an extra says which one."""
    assert find_spec("duckdb") is None, "an extra is installed: this proves nothing"
    program = Path(sys.executable).with_name("polyteia-sandbox")
    rejected = subprocess.run([program, "serve"], capture_output=True, text=True, timeout=60, check=False)
    assert rejected.returncode != 0
    assert "airflow-provider-polyteia[sandbox]" in rejected.stderr, rejected.stderr


if __name__ == "__main__":
    main()
