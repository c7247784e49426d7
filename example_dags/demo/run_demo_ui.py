"""`make demo-ui`: Airflow with its web interface and all example DAGs, and the sandbox, until Ctrl-C."""

from __future__ import annotations

import signal

from airflow_env import RealAirflow
from local import EXAMPLES, connection, stop_on_signals, temporary_home

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID, Sandbox

TEXT = """
Airflow    {airflow}
           user {user}, password {password}
Sandbox    {sandbox}

Trigger a DAG in Airflow; where it asks for an id, the sandbox has
           solution_id      {solution}
           organization_id  {organization}

Ctrl-C stops both.
"""


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)  # noqa: T201 - a program for the terminal


def main() -> None:
    """Start both, say where they are, and wait."""
    say("Starting the sandbox and Airflow ...")
    with temporary_home() as home, Sandbox() as sandbox:
        connections = {"polyteia_default": connection(sandbox.base_url, sandbox.pak)}
        with RealAirflow(home, dags=EXAMPLES, connections=connections) as airflow:
            text = TEXT.format(
                airflow=airflow.url,
                user=airflow.username,
                password=airflow.password,
                sandbox=sandbox.base_url,
                solution=SANDBOX_SOLUTION_ID,
                organization=SANDBOX_ORGANIZATION_ID,
            )
            say(text)
            signal.pause()


if __name__ == "__main__":
    stop_on_signals()
    try:
        main()
    except KeyboardInterrupt:
        say("Airflow and the sandbox are stopped.")
