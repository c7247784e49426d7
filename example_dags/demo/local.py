"""What both demos need: where things are, the connection to the sandbox, and a real Airflow in a directory."""

from __future__ import annotations

import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "example_dags").glob("example_*.py"))

if TYPE_CHECKING:
    from collections.abc import Iterator


def connection(base_url: str, key: str) -> dict[str, Any]:
    """Return the fields of an Airflow connection to the sandbox. Links of tasks open the sandbox's pages."""
    extra = {"api": "command", "ui_url": f"{base_url}/ui/datasets/{{dataset_id}}"}
    return {"conn_type": "polyteia", "host": base_url, "password": key, "extra": extra}


@contextmanager
def temporary_home() -> Iterator[Path]:
    """An AIRFLOW_HOME under `.airflow` in the checkout, removed at the end."""
    parent = ROOT / ".airflow"
    parent.mkdir(exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="demo-", dir=parent))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def stop_on_signals() -> None:
    """Leave by KeyboardInterrupt, and so stop everything that runs, at Ctrl-C as at `kill`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
