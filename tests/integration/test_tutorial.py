"""The tutorial on a real Airflow: its files are saved and its commands run, in the order of the page.

Commands that are replaced: the installation by the environment of the tests, `airflow standalone` by a `RealAirflow`,
and `polyteia-sandbox serve` by a `Sandbox` on a free port. `make quickstart-test` runs them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from airflow.configuration import conf
from airflow_env import AIRFLOW_3, RealAirflow, wait_until

from airflow_provider_polyteia.sandbox import SANDBOX_SOLUTION_ID, Sandbox
from airflow_provider_polyteia.sandbox.cli import DEFAULT_PORT

PAGE = Path(__file__).parents[2] / "docs/tutorial.md"
# The commands that are replaced begin with one of these.
REPLACED = (
    "cd ",
    "mkdir polyteia-tutorial",
    "python3 -m venv",
    "pip install",
    "polyteia-sandbox ",
    "airflow standalone",
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not AIRFLOW_3, reason="the tutorial is for Airflow 3"),
]


@dataclass(frozen=True)
class Block:
    """One fenced block of the page. `file` is None for commands."""

    file: str | None
    code: str


def sections():
    """Return heading -> blocks, in the order of the page."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    return {heading: list(blocks(text)) for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def blocks(text):
    pattern = r"(?:^`([\w./]+)`:\n\n)?^```\w+\n(.*?)^```$"
    for match in re.finditer(pattern, text, re.MULTILINE | re.DOTALL):
        yield Block(match[1], match[2])


class Reader:
    """Follows the page in a directory, like a user with three terminals.

    :param home: the directory of the tutorial.
    :param airflow: the running Airflow, with `airflow` in this directory as its home.
    :param sandbox: the running sandbox.
    """

    def __init__(self, home, airflow, sandbox):
        self.home, self.airflow, self.sandbox = home, airflow, sandbox
        self.port = sandbox.base_url.rpartition(":")[2]
        self.unread = sections()
        self.runs = {}
        (home / "venv/bin").mkdir(parents=True)
        (home / "venv/bin/activate").write_text(f'export PATH="{Path(sys.executable).parent}:$PATH"\n')
        # `airflow standalone` writes the file of this name.
        shutil.copy(airflow.home / "passwords.json", airflow.home / "simple_auth_manager_passwords.json.generated")

    def follow(self, heading):
        """Save the files of a section and run its commands."""
        for block in self.unread.pop(heading):
            if block.file:
                self.save(block)
            else:
                self.run(block.code.replace(str(DEFAULT_PORT), self.port))

    def save(self, block):
        """Write a file; if it is a DAG, wait until Airflow shows its tasks."""
        (self.home / block.file).write_text(block.code)
        if dag_id := re.search(r'\bDAG\("(\w+)"', block.code):
            tasks = set(re.findall(r'task_id="(\w+)"', block.code))
            wait_until(lambda: self.tasks(dag_id[1]) == tasks, 100, lambda: f"{dag_id[1]} does not have {tasks}")

    def tasks(self, dag_id):
        if not self.airflow.records.dag_is_parsed(dag_id):
            return set()
        return {task["task_id"] for task in self.airflow.rest("GET", f"/api/v2/dags/{dag_id}/tasks")["tasks"]}

    def run(self, script):
        """Run commands in a new terminal; after a trigger, wait until the run has ended or is deferred."""
        environment = self.airflow.environment() | {"HOME": str(self.home), "BASH_ENV": ""}
        lines = [line for line in script.splitlines() if not line.startswith(REPLACED)]
        script = "\n".join(["set -e", "[ ! -e env.sh ] || source env.sh", *lines])
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for dag_id in re.findall(r"^airflow dags trigger (\w+)$", script, re.MULTILINE):
            self.runs[dag_id] = self.last_run(dag_id)
            wait_until(lambda dag_id=dag_id: self.is_settled(dag_id), 90, self.airflow.logs)

    def last_run(self, dag_id):
        runs = self.airflow.rest("GET", f"/api/v2/dags/{dag_id}/dagRuns?order_by=-run_after")["dag_runs"]
        return runs[0]["dag_run_id"]

    def is_settled(self, dag_id):
        return self.state(dag_id) in {"success", "failed"} or "deferred" in self.task_states(dag_id).values()

    def state(self, dag_id):
        """Return the state of the last run of a DAG."""
        return self.airflow.records.run_state(dag_id, self.runs[dag_id])

    def task_states(self, dag_id):
        """Return task -> state in the last run of a DAG."""
        instances = self.airflow.records.task_instances(dag_id, self.runs[dag_id])
        return {instance.task_id: instance.state for instance in instances}

    def xcom(self, dag_id, task_id, key):
        """Return an XCom of the last run of a DAG."""
        return self.airflow.records.xcoms(dag_id, self.runs[dag_id])[task_id, -1, key]

    def dataset(self):
        """Return the record of the only dataset in the sandbox."""
        (dataset,) = self.sandbox.datasets
        return self.sandbox.call("get_dataset", {"id": dataset["id"]})


@pytest.fixture
def reader(tmp_path):
    home = tmp_path / "polyteia-tutorial"
    with Sandbox() as sandbox, RealAirflow(home / "airflow") as airflow:
        yield Reader(home, airflow, sandbox)


def test_each_step_has_the_result_that_the_page_describes(reader):
    """A reader who follows the page has one dataset, loads it, and ends a wait with a second load."""
    for heading in ("Install", "Start the sandbox", "Start Airflow"):
        reader.follow(heading)

    reader.follow("Create the connection")
    tested = reader.airflow.rest("POST", "/api/v2/connections/test", connection(reader))
    assert tested == {"status": True, "message": "Connected to organization 'Stadt Musterhausen'."}

    reader.follow("Create a dataset")
    assert reader.state("street_trees") == "success"
    assert reader.dataset()["slug"] == "street_trees"
    link = reader.xcom("street_trees", "create_dataset", "_link_PolyteiaLink")
    assert link == f"{reader.sandbox.base_url}/ui/datasets/{reader.dataset()['id']}"

    reader.follow("Load a file")
    assert reader.task_states("street_trees") == {"create_dataset": "success", "load": "success"}
    assert rows(reader) == 5

    reader.follow("Wait for the next delivery")
    assert reader.state("street_trees") == "success"
    assert reader.airflow.wait("tree_report", reader.runs["tree_report"]) == "success"
    assert ["West", 2] in reader.xcom("tree_report", "count_trees", "result")["rows"]
    assert rows(reader) == 6

    assert set(reader.unread) == {"Stop", "What next"}
    assert not any(reader.unread.values())


def connection(reader):
    """Return the connection as the page's form shows it, with the port of this sandbox."""
    fields = dict(re.findall(r"^\| ([\w ]+?)(?: \(.+\))? \| `(.+)` \|$", PAGE.read_text(), re.MULTILINE))
    assert fields["Port"] == str(DEFAULT_PORT)
    return {
        "connection_id": fields["Connection ID"],
        "conn_type": "polyteia",
        "host": fields["Host"],
        "port": int(reader.port),
        "password": fields["Personal access key"],
        "extra": json.dumps({"ui_url": fields["UI URL pattern"]}),
    }


def rows(reader):
    """Return the number of rows in the dataset."""
    content = reader.sandbox.content(reader.dataset()["id"]).decode()
    return len(content.splitlines()) - 1


def test_settings_exist():
    """Airflow knows each setting of the page."""
    names = re.findall(r"^export AIRFLOW__(\w+?)__(\w+)=", PAGE.read_text(), re.MULTILINE)
    assert names
    for section, option in names:
        assert option.lower() in conf.configuration_description[section.lower()]["options"]


def test_ids_of_the_sandbox():
    """The page names the port, the key and the solution of a new sandbox."""
    text = PAGE.read_text()
    assert f"<http://127.0.0.1:{DEFAULT_PORT}>" in text
    assert f"`{Sandbox().pak}`" in text
    assert set(re.findall(r"\bsol_\w{10,}", text)) == {SANDBOX_SOLUTION_ID}
