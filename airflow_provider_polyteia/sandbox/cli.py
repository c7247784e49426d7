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
from airflow_provider_polyteia.sandbox.optional_dependencies import require_packages
from airflow_provider_polyteia.sandbox.options import API_TITLES, RPC_DIALECTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_polyteia.sandbox.server import Sandbox

DEFAULT_PORT = 8765

_EPILOG = """\
Without --pak, the sandbox accepts a well-known key, which it prints because it is not a secret.
Keys given here are never printed or logged, but other users can see them in the process list.

A fault is <call>:<kind>[:<argument>][:<selector>], for example:
  create_dataset:drop-after:1           apply the first create, but lose its response
  dataset/createDataset:drop-after:1    the same on the RPC API
  /upload:drop-at:50                    reset the connection of every upload halfway
  *:status:503:p=0.3                    respond to 30 % of all calls with HTTP 503 (see --seed)
All kinds: python -m pydoc airflow_provider_polyteia.sandbox.faults
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 on success, 1 if it cannot start, 2 for invalid arguments."""
    arguments = _parser().parse_args(argv)
    try:
        require_packages()
        return _serve(arguments)
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        print(f"polyteia-sandbox: {error}", file=sys.stderr)  # noqa: T201 - output of a command
        return 2 if isinstance(error, ValueError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="polyteia-sandbox", description="The sandbox: a local emulator of the Polyteia API."
    )
    parser.add_argument("--version", action="version", version=__version__)
    serve = parser.add_subparsers(required=True, metavar="serve").add_parser(
        "serve",
        help="run the sandbox until interrupted",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = serve.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add(
        "--port", type=int, default=DEFAULT_PORT, help="port to listen on; 0 selects a free port (default: %(default)s)"
    )
    add(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="host name at which the sandbox is reached, besides loopback names and --host; * for any; repeatable",
    )
    add("--ready-file", type=Path, metavar="PATH", help="file to write the base URL to when the sandbox is ready")
    add("--api", choices=tuple(API_TITLES), default="command", help="API to serve (default: %(default)s)")
    add(
        "--rpc-dialect",
        type=int,
        choices=RPC_DIALECTS,
        default=1,
        help="version of the RPC API's framework, which determines details of its format (default: %(default)s)",
    )
    add("--data-dir", type=Path, metavar="DIR", help="preserve the state there across restarts (default: in memory)")
    add("--pak", action="append", default=[], metavar="KEY", help="personal access key with full access; repeatable")
    add("--read-only-pak", action="append", default=[], metavar="KEY", help="key that can only read; repeatable")
    add(
        "--deny",
        action="append",
        default=[],
        metavar="KEY=SOLUTION",
        help="key without access to this solution and its content; repeatable",
    )
    add("--fault", action="append", default=[], metavar="SPEC", help="inject faults; see below; repeatable")
    add("--seed", type=int, default=0, metavar="N", help="random seed for fault probabilities (default: %(default)s)")
    add("--latency", type=float, default=0, metavar="MS", help="delay every API call by MS milliseconds")
    add(
        "--ingest-delay",
        type=float,
        default=0,
        metavar="S",
        help="delay before uploaded data becomes visible, in seconds",
    )
    add("--ingest-error", default="", metavar="TEXT", help="RPC API: let every ingest fail with this message")
    add(
        "--terms-missing",
        action="append",
        default=[],
        metavar="SOLUTION",
        help="RPC API: solution whose data processing terms are not acknowledged; repeatable",
    )
    add("--token-lifetime", type=float, metavar="S", help="lifetime of access tokens and sessions in seconds")
    add(
        "--url-lifetime",
        type=float,
        default=900,
        metavar="S",
        help="RPC API: lifetime of presigned URLs in seconds (default: %(default)s)",
    )
    add("--http-403", action="store_true", help="report missing permissions as HTTP status 403, not inside HTTP 200")
    add("--quiet", action="store_true", help="do not log requests")
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    # Imported here so that a missing extra is reported in one line, and --help is fast.
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
        api=arguments.api,
        rpc_dialect=arguments.rpc_dialect,
        paks=arguments.pak or [SANDBOX_PAK],
        read_only_paks=arguments.read_only_pak,
        denied_solutions=_denied_solutions(arguments.deny),
        data_dir=arguments.data_dir,
        faults=arguments.fault,
        seed=arguments.seed,
        latency=arguments.latency / 1000,
        ingest_delay=arguments.ingest_delay,
        ingest_error=arguments.ingest_error,
        unacknowledged_solutions=_solutions(arguments.terms_missing),
        token_lifetime=arguments.token_lifetime,
        url_lifetime=arguments.url_lifetime,
        http_403=arguments.http_403,
        allowed_hosts=arguments.allowed_host,
    )
    with sandbox:
        _announce(sandbox, arguments)
        stop.wait()
    return 0


def _denied_solutions(pairs: Sequence[str]) -> dict[str, list[str]]:
    solutions: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        key, equals, solution = pair.rpartition("=")
        if not (equals and key and solution.startswith("sol_")):
            raise ValueError("--deny must be KEY=SOLUTION with the id of a solution (sol_...)")
        solutions[key].append(solution)
    return solutions


def _solutions(ids: Sequence[str]) -> Sequence[str]:
    if not all(solution.startswith("sol_") for solution in ids):
        raise ValueError("--terms-missing must be the id of a solution (sol_...)")
    return ids


def _announce(sandbox: Sandbox, arguments: argparse.Namespace) -> None:
    connection = sandbox.airflow_connection("<your key>" if arguments.pak else SANDBOX_PAK)
    print(  # noqa: T201 - output of a command
        f"Polyteia sandbox with the {API_TITLES[arguments.api]} on {sandbox.base_url}\n"
        f"export AIRFLOW_CONN_POLYTEIA_DEFAULT='{connection}'",
        flush=True,
    )
    if arguments.ready_file:
        unfinished = arguments.ready_file.with_name(arguments.ready_file.name + f".{os.getpid()}")
        unfinished.write_text(sandbox.base_url)
        unfinished.replace(arguments.ready_file)
