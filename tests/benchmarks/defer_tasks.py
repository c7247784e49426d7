"""Make all tasks of the run `bench` deferred, as a worker would: `defer_tasks.py CONTESTANT INTERVAL LAG_FILE`.

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
    """One task gets the probe, each of the others a trigger of the contestant."""
    contestant, interval, file = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    with create_session() as session:
        tasks = session.query(TaskInstance).filter_by(run_id="bench").all()
        for number, task in enumerate(tasks if contestant != "nobody" else tasks[:1]):
            waiting = make(contestant, number, interval) if number else LagProbe(file)
            trigger = Trigger.from_object(waiting)
            session.add(trigger)
            session.flush()
            task.trigger_id = trigger.id
            task.state = TaskInstanceState.DEFERRED
            task.next_method = "execute_complete"


if __name__ == "__main__":
    main()
