"""500 waits for minutes, behind a proxy that breaks handshakes, on a platform that does not always respond."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles

import psutil
import pytest
import trustme
from platforms import Platform
from relays import Cut, Relay
from servers import HANG, ScriptedServer

from airflow_provider_polyteia.triggers.dataset import DatasetUploadedTrigger

SECONDS = float(os.environ.get("POLYTEIA_SOAK_SECONDS", "40"))
INTERVAL = float(os.environ.get("POLYTEIA_SOAK_INTERVAL", "4"))  # seconds between two polls
WAITS, DEADLINES = 500, 20  # number of all waits, and of those for uploads that never come
SHARING = 300  # waits for datasets of one solution; each of the others is in a solution of its own
BROKEN = 0.05  # share of connections whose handshakes fail
HANGING = 10  # requests at a time
CANCELLED = 50 / 60  # waits per second
UPLOADED = 5  # datasets per second
HANDSHAKE = 1000  # bytes that a client receives before it may send its request


class Firewall(Relay):
    """A proxy that breaks some connections before TLS is established.

    :ivar broken: how often, by the way it did it.
    """

    def __init__(self, chance) -> None:
        super().__init__()
        self.broken = Counter()
        self._chance = chance

    def next_cut(self):
        if self._chance.random() >= BROKEN:
            return None
        how = self._chance.choice(["close", "reset", "silence", "garbage"])
        self.broken[how] += 1
        return Cut(self._chance.randrange(HANDSHAKE), how)


class Unwell(Platform):
    """A platform that often closes a connection after a response, and leaves requests without one: some at any time,
    but no query three times in a row.

    :ivar hung: number of requests without a response.
    """

    def __init__(self, server, chance) -> None:
        super().__init__(WAITS, solution=lambda n: "sol_1" if n < SHARING else f"sol_{n}")
        self.hung = 0
        self._server = server
        self._chance = chance
        self._in_a_row = Counter()

    def __call__(self, request):
        if self._server.hanging < HANGING and self._in_a_row[request.body] < 2 and self._chance.random() < 0.5:
            self._in_a_row[request.body] += 1
            self.hung += 1
            return HANG
        self._in_a_row[request.body] = 0
        reply = super().__call__(request)
        if self._chance.random() < 0.5:
            reply.headers["Connection"] = "close"
        return reply


class Waiting:
    """Waits that begin again whenever they end, and what they have reported.

    :ivar late: seconds from each upload to its report.
    :ivar overdue: seconds from each deadline to the end of its wait.
    :ivar cancelled: number of waits that were cancelled.
    :ivar problems: whatever must not happen.
    """

    def __init__(self, platform) -> None:
        self.late: list[float] = []
        self.overdue: list[float] = []
        self.cancelled = 0
        self.problems: list[str] = []
        self.tasks: dict[int, asyncio.Task] = {}
        self._platform = platform
        self._pending: dict[int, tuple[datetime, float]] = {}

    async def wait(self, number):
        """Wait for upload after upload into one dataset."""
        by_slug = {"solution_id": self._platform.records[f"ds_{number}"]["solution_id"], "slug": f"s{number}"}
        options = {"dataset_id": f"ds_{number}"} if number % 2 else by_slug
        while True:
            deadline = datetime.now(UTC) + timedelta(seconds=3 * INTERVAL)
            if number >= WAITS - DEADLINES:
                options["deadline"] = deadline.isoformat()
            trigger = DatasetUploadedTrigger(
                polyteia_conn_id="polyteia_default", poke_interval=INTERVAL, max_attempts=5, **options
            )
            self.tasks[number] = asyncio.create_task(trigger.result())
            await asyncio.wait([self.tasks[number]])
            if self.tasks[number].cancelled():
                continue
            payload = self.tasks[number].result()
            if payload["status"] == "timed out" and "deadline" in options:
                self.overdue.append((datetime.now(UTC) - deadline).total_seconds())
            elif payload["status"] == "uploaded":
                options["uploaded_after"] = payload["dataset"]["uploaded_at"]
                self._report(number, datetime.fromisoformat(options["uploaded_after"]))
            else:
                self.problems.append(f"wait {number}: {payload}")

    def upload(self, number):
        """Upload into a dataset whose last upload has been reported."""
        if number not in self._pending:
            now = datetime.now(UTC)
            self._pending[number] = (now, time.monotonic())
            self._platform.upload(number, now.isoformat())

    def cancel(self, number):
        self.cancelled += self.tasks[number].cancel()

    @property
    def missing(self):
        """Datasets whose uploads have not been reported."""
        return sorted(self._pending)

    async def end(self, *others):
        """Cancel all waits and these other tasks."""
        tasks = [*others, *self.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _report(self, number, reported):
        uploaded, since = self._pending.pop(number, (None, time.monotonic()))
        self.late.append(time.monotonic() - since)
        if reported != uploaded:
            self.problems.append(f"wait {number}: reported {reported} instead of {uploaded}")


async def regularly(per_second, action):
    """Call an action so often."""
    while True:
        await asyncio.sleep(1 / per_second)
        action()


def open_now(port):
    """The number of connections from this process to a port, and of its open files."""
    process = psutil.Process()
    addresses = [found.raddr for found in process.net_connections("tcp") if found.raddr]
    return [address.port for address in addresses].count(port), process.num_fds()


async def run(platform, chance, sample):
    """Wait, upload and cancel; return the waits and what was not reported."""
    waiting = Waiting(platform)
    waits = [asyncio.create_task(waiting.wait(number)) for number in range(WAITS)]
    await asyncio.sleep(2 * INTERVAL)  # those by id know their solutions then
    uploading = asyncio.create_task(
        regularly(UPLOADED, lambda: waiting.upload(chance.randrange(WAITS - DEADLINES))),
    )
    cancelling = asyncio.create_task(regularly(CANCELLED, lambda: waiting.cancel(chance.randrange(WAITS))))
    sampling = asyncio.create_task(regularly(2, sample))
    await asyncio.sleep(SECONDS)
    uploading.cancel()
    await asyncio.sleep(3 * INTERVAL)
    missing = waiting.missing
    await waiting.end(*waits, uploading, cancelling, sampling)
    return waiting, missing


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 60)
def test_waits(connect, tmp_path):
    """No wait hangs or is late, each upload is reported once, and connections and files do not grow."""
    chance = random.Random(1)
    context, authority = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), trustme.CA()
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(bundle := tmp_path / "ca.pem"))
    samples = []
    with ScriptedServer(context) as server, Firewall(chance) as firewall:
        server.respond(platform := Unwell(server, chance))
        proxies = {"https": f"http://127.0.0.1:{firewall.port}"}
        connect(host=server.url, extra={"api": "command", "verify": str(bundle), "proxies": proxies})
        waiting, missing = asyncio.run(run(platform, chance, lambda: samples.append(open_now(firewall.port))))
        left, _ = open_now(firewall.port)
    late = waiting.late
    print(  # noqa: T201 - the report
        f"\nUploads reported: {len(late)}, after {median(late):.1f} s (median), {quantiles(late, n=100)[-1]:.1f} s "
        f"(p99), {max(late):.1f} s (maximum). Deadlines: {len(waiting.overdue)}, {max(waiting.overdue):.2f} s late. "
        f"Cancelled: {waiting.cancelled}. Requests: {len(server.requests)}, {platform.hung} without a response. "
        f"Connections: {server.connections}; handshakes broken: {dict(firewall.broken)}. Connections and files open "
        f"at the beginning, in the middle, at the end: {samples[0]}, {samples[len(samples) // 2]}, {samples[-1]}."
    )
    assert not waiting.problems
    assert not missing
    assert max(late) < 3 * INTERVAL  # within one if nothing goes wrong, so late by no more than two
    assert max(waiting.overdue) < 1
    assert len(late) > 0.5 * UPLOADED * SECONDS
    assert waiting.cancelled > 0.8 * CANCELLED * SECONDS
    assert platform.hung > HANGING
    assert firewall.broken.total() > 0.5 * BROKEN * server.connections
    assert not left
    quarter = len(samples) // 4
    for kind in range(2):
        early, end = samples[quarter : 2 * quarter], samples[-quarter:]
        assert median(one[kind] for one in end) < 1.5 * median(one[kind] for one in early) + 10
