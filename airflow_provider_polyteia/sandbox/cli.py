"""The command `polyteia-sandbox`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_polyteia import __version__
from airflow_provider_polyteia.sandbox.constants import SANDBOX_PAK
from airflow_provider_polyteia.sandbox.optional_dependencies import require_extras

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_polyteia.sandbox.server import Sandbox

DEFAULT_PORT = 8765

_EPILOG = """\
Without --pak the well-known key of every sandbox is accepted: it is printed, and no secret.
Keys given here are never printed or logged (but the process list shows a command's arguments).

A fault is <call>:<kind>[:<argument>][:<which>], for instance
  create_dataset:drop-after:1    the first create is applied, its answer lost
  /upload:drop-at:50             every upload is broken off after half of it
  *:status:503:p=0.3             three in ten calls, of whatever kind, get HTTP 503 (see --seed)
All kinds: python -m pydoc airflow_provider_polyteia.sandbox.faults.specs
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 in order, 1 could not start, 2 arguments make no sense."""
    arguments = _parser().parse_args(argv)
    try:
        require_extras()
        return _serve(arguments)
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        print(f"polyteia-sandbox: {error}", file=sys.stderr)  # noqa: T201 - a command line's answer
        return 2 if isinstance(error, ValueError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="polyteia-sandbox", description="A local stand-in for the Polyteia platform.")
    parser.add_argument("--version", action="version", version=__version__)
    serve = parser.add_subparsers(required=True, metavar="serve").add_parser(
        "serve",
        help="listen until interrupted",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = serve.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)")
    add("--ready-file", type=Path, metavar="PATH", help="file to write the base URL to, as soon as it listens")
    add("--data-dir", type=Path, metavar="DIR", help="keep everything there over a restart; else in memory")
    add("--pak", action="append", default=[], metavar="KEY", help="a key that may do everything; repeatable")
    add("--read-only-pak", action="append", default=[], metavar="KEY", help="a key that may only read")
    add(
        "--shut-out",
        action="append",
        default=[],
        metavar="KEY=SOLUTION",
        help="accept the key, but refuse it this solution and its content",
    )
    add("--fault", action="append", default=[], metavar="SPEC", help="let calls go wrong; see below")
    add("--seed", type=int, default=0, metavar="N", help="of the faults' probabilities (default: %(default)s)")
    add("--latency", type=float, default=0, metavar="MS", help="wait so many milliseconds in every API call")
    add("--ingest-delay", type=float, default=0, metavar="S", help="uploaded data is there so much later")
    add("--token-lifetime", type=float, metavar="S", help="exchanged access tokens expire after so long")
    add("--http-403", action="store_true", help="missing permission as HTTP status 403, not inside HTTP 200")
    add("--quiet", action="store_true", help="no line for each request")
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    # Imported here so that a missing extra is told as one line, and --help answers at once.
    from airflow_provider_polyteia.sandbox.server import Sandbox  # noqa: PLC0415

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING if arguments.quiet else logging.INFO,
        format="%(asctime)s %(message)s",
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    sandbox = Sandbox(
        host=arguments.host,
        port=arguments.port,
        paks=arguments.pak or [SANDBOX_PAK],
        read_only_paks=arguments.read_only_pak,
        shut_out=_shut_out(arguments.shut_out),
        data_dir=arguments.data_dir,
        faults=arguments.fault,
        seed=arguments.seed,
        latency=arguments.latency / 1000,
        ingest_delay=arguments.ingest_delay,
        token_lifetime=arguments.token_lifetime,
        http_403=arguments.http_403,
    )
    with sandbox:
        _announce(sandbox, arguments)
        stop.wait()
    return 0


def _shut_out(pairs: Sequence[str]) -> dict[str, list[str]]:
    solutions: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        key, equals, solution = pair.rpartition("=")
        if not (equals and key and solution.startswith("sol_")):
            raise ValueError("--shut-out needs KEY=SOLUTION with the id of a solution (sol_...)")
        solutions[key].append(solution)
    return solutions


def _announce(sandbox: Sandbox, arguments: argparse.Namespace) -> None:
    connection = sandbox.airflow_connection("<your key>" if arguments.pak else SANDBOX_PAK)
    print(  # noqa: T201 - what the command is for
        f"Polyteia sandbox on {sandbox.base_url}\nexport AIRFLOW_CONN_POLYTEIA_DEFAULT='{connection}'",
        flush=True,
    )
    if arguments.ready_file:
        unfinished = arguments.ready_file.with_name(arguments.ready_file.name + f".{os.getpid()}")
        unfinished.write_text(sandbox.base_url)
        unfinished.replace(arguments.ready_file)
