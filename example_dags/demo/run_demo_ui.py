"""`make demo-ui`: Airflow with its web interface and all example DAGs, and the sandbox, until Ctrl-C."""

from __future__ import annotations

import signal

from airflow_env import AIRFLOW_3, RealAirflow
from local import EXAMPLES, connection, stop_on_signals, temporary_home

from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID, SANDBOX_SOLUTION_ID, Sandbox

# Airflow 2.11 is started without its web server, which needs more than these demos do.
WITHOUT_UI = "This Airflow is older than 3.0; the demo with a web interface needs Airflow 3.\n"

TEXT = """
Airflow    {airflow}
           user {user}, password {password}
Sandbox    {sandbox}
           no password; this page shows what the platform contains

What to look at, in this order:

1. The platform is empty.
   Open {sandbox}

2. A DAG creates and fills two datasets.
   Open {airflow}/dags/example_holidays and sign in.
   Press Trigger, enter the solution_id {solution} and press Trigger again.

3. The graph: press the graph button above the grid, on the left.
   The tasks create_dataset and upload_holidays run once for each year.

4. The log: select the task upload_holidays, then one of its two instances.
   It states which file was uploaded, its size, and the dataset.

5. The link: select an instance of create_dataset, then Details, then Open in Polyteia.
   Here it opens the page of the dataset in the sandbox, with its columns and first rows.

6. The platform again: reload {sandbox}
   It shows two datasets, the last upload, and each request that Airflow has sent.

7. The asset graph: open {airflow}/assets and select public_holidays_2026.
   The upload of 2026 has started the DAG example_asset_triggered, within 20 seconds.

8. The connection form: open {airflow}/connections
   Press Add Connection, select the type Polyteia, and enter the values that the page of the sandbox shows.

Trigger the other examples too. Where they ask for an id:
   solution_id      {solution}
   organization_id  {organization}

Ctrl-C stops both.
"""


def say(text: str) -> None:
    """Print immediately, even into a pipe."""
    print(text, flush=True)  # noqa: T201 - a program for the terminal


def main() -> None:
    """Start both, print what to look at, and wait."""
    if not AIRFLOW_3:
        raise SystemExit(WITHOUT_UI)
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
