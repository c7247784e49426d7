"""Defer all tasks of the run `bench`, like a worker: `defer_tasks.py COMPETITOR INTERVAL LAG_FILE`.

Runs with the settings of the Airflow whose database it changes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState

sys.path.append(str(Path(__file__).parent))

from waiting_triggers import LagProbe, make  # found through the path above


def main() -> None:
    """Defer one task with the probe, and each of the others with a trigger of the competitor."""
    competitor, interval, file = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    with create_session() as session:
        tasks = session.query(TaskInstance).filter_by(run_id="bench").all()
        for number, task in enumerate(tasks):
            waiting = make(competitor, number, interval) if number else LagProbe(file)
            trigger = Trigger.from_object(waiting)
            session.add(trigger)
            session.flush()
            task.trigger_id = trigger.id
            task.state = TaskInstanceState.DEFERRED
            task.next_method = "execute_complete"


if __name__ == "__main__":
    main()
