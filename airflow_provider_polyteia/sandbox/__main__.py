"""Run the command `polyteia-sandbox` with `python -m airflow_provider_polyteia.sandbox`."""

from __future__ import annotations

import sys

from airflow_provider_polyteia.sandbox.cli import main

sys.exit(main())
