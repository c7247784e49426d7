"""What exports do to the file system: which destinations they reject, and that a killed one leaves nothing."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaError
from airflow_provider_polyteia.storage import atomic_write, local_file

pytestmark = pytest.mark.slow  # waits for real timeouts, processes and signals

CONTENT = b"a\n1\n"
LEFTOVER = ".rows.csv.0123abcd.part"


@pytest.fixture(params=["unnamed", "named"])
def file_system(request, monkeypatch):
    """A file system with files without a name, and one without."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE")
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.csv"


def write(path, content=CONTENT):
    with atomic_write(path) as file:
        file.write(content)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def make_null_device(path):
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))


SPECIAL = {
    "a directory": Path.mkdir,
    "a named pipe": os.mkfifo,
    "a socket": make_socket,
    "a device": make_null_device,
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("form", ["path", "link", "URL"])
def test_not_a_file(hook, sandbox, dataset_id, path, kind, form):
    """What is not a file is rejected before anything is sent, and stays what it is."""
    if kind == "a device" and os.geteuid():
        pytest.skip("only root can make a device")
    SPECIAL[kind](path)
    before = path.stat()
    place = {"path": path, "link": path.with_name("link.csv"), "URL": ObjectStoragePath(f"file://{path}")}[form]
    if form == "link":
        place.symlink_to(path)
    with pytest.raises(PolyteiaConfigurationError, match=f"cannot be written: it is {kind}, not a file") as caught:
        hook.export_dataset(dataset_id, place, format="text/csv")
    assert isinstance(caught.value, AirflowFailException)
    assert sandbox.requests == []
    assert (path.stat().st_ino, path.stat().st_mode) == (before.st_ino, before.st_mode)


def test_null_device():
    """`/dev/null` is a device, not a place to write a file."""
    with pytest.raises(PolyteiaConfigurationError, match="it is a device"):
        write(Path("/dev/null"))
    assert Path("/dev/null").is_char_device()


def test_standard_output():
    """The link `/dev/stdout` leads to a pipe, whose name does not exist as a path."""
    code = KILLED.replace("sys.argv[1]", "'/dev/stdout'")
    done = subprocess.run([sys.executable, "-c", code, "", ""], capture_output=True, text=True, check=False)
    assert "it is a named pipe, not a file" in done.stderr


def test_becomes_a_pipe_in_the_meantime(path, file_system):
    """A destination that has become something else is not replaced either."""
    writing = ExitStack()
    writing.enter_context(atomic_write(path)).write(CONTENT)
    os.mkfifo(path)
    with pytest.raises(PolyteiaConfigurationError, match="it is a named pipe"):
        writing.close()
    assert path.is_fifo()
    assert list(path.parent.iterdir()) == [path]


def test_directory_in_object_storage(hook, sandbox, dataset_id, object_storage):
    """An object is not moved into a directory that has its name."""
    ObjectStoragePath(f"{object_storage}/rows.csv/other").write_bytes(b"x")
    with pytest.raises(PolyteiaConfigurationError, match="it is a directory, not a file"):
        hook.export_dataset(dataset_id, f"{object_storage}/rows.csv")
    assert sandbox.requests == []
    assert [found.name for found in ObjectStoragePath(f"{object_storage}/rows.csv").iterdir()] == ["other"]


def test_link_to_a_file(path, file_system):
    """A link stays a link, also to a file that does not exist yet; the file keeps its permissions."""
    link = path.with_name("link.csv")
    link.symlink_to(path)
    write(link, b"first")
    path.chmod(0o640)
    write(link)
    assert link.is_symlink()
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (CONTENT, 0o640)
    assert sorted(path.parent.iterdir()) == [link, path]


def test_permissions_of_a_new_file(path, file_system):
    """A new file has the permissions that the process gives to its files."""
    before = os.umask(0o027)
    try:
        write(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_nothing_has_a_name_before_the_end(path):
    """Where the file system has files without a name, none is beside the destination while it is written."""
    with atomic_write(path) as file:
        file.write(CONTENT)
        file.flush()
        assert list(path.parent.iterdir()) == []
    assert list(path.parent.iterdir()) == [path]


def test_content_that_cannot_be_linked(path, monkeypatch):
    """Where a file without a name cannot get one, its content is copied."""

    def fail(*_, **__):
        raise PermissionError

    path.write_bytes(b"yesterday's")
    path.chmod(0o600)
    monkeypatch.setattr(os, "link", fail)
    write(path, CONTENT * 100_000)
    assert path.read_bytes() == CONTENT * 100_000
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_no_descriptor_is_left(path, file_system):
    """After a success and after a failure, everything is closed."""
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers, not paths
    write(path)
    with pytest.raises(PolyteiaError), atomic_write(path):
        raise PolyteiaError("no")
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - numbers, not paths
    assert list(path.parent.iterdir()) == [path]


KILLED = """
import os, sys, time
from pathlib import Path
from airflow_provider_polyteia.storage import atomic_write
if sys.argv[2] == "named":
    del os.O_TMPFILE
if sys.argv[2] == "linked":  # killed between the link and the renaming
    Path.replace = lambda *_: (print("written", flush=True), time.sleep(60))
with atomic_write(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    if sys.argv[2] != "linked":
        print("written", flush=True)
        time.sleep(60)
"""


@pytest.fixture
def writing(path):
    """Start another process that writes to `path`; return it when it has written a part."""
    started = []

    def start(how):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(path), how], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "written\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_without_a_name(path, writing):
    """A process that is killed leaves nothing."""
    process = writing("unnamed")
    assert list(path.parent.iterdir()) == []
    kill(process)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("how", ["named", "linked"])
def test_killed_with_a_name(path, file_system, writing, how):
    """What a killed process leaves is removed by the next export to the same destination."""
    kill(writing(how))
    (leftover,) = path.parent.iterdir()
    assert leftover.name.startswith(".rows.csv.")
    write(path.with_name("other.csv"))
    assert leftover.exists()
    write(path)
    assert sorted(found.name for found in path.parent.iterdir()) == ["other.csv", "rows.csv"]


@pytest.mark.parametrize("how", ["named", "linked"])
def test_living_process(path, file_system, writing, how):
    """What a living process is writing is not removed."""
    writing(how)
    (part,) = path.parent.iterdir()
    write(path)
    assert sorted(path.parent.iterdir()) == [part, path]


def test_other_files_stay(path):
    """Only files with exactly the form of our temporary names are removed, and never what is not a file."""
    kept = [".rows.csv.part", ".rows.csv.0123abcd.part.txt", ".rows.csv.0123ABCD.part", ".rows.csv2.0123abcd.part"]
    for name in kept:
        path.with_name(name).write_bytes(b"mine")
    path.with_name(".rows.csv.01234567.part").mkdir()
    path.with_name(LEFTOVER).write_bytes(b"half")
    write(path)
    assert sorted(found.name for found in path.parent.iterdir()) == sorted(
        [*kept, ".rows.csv.01234567.part", "rows.csv"]
    )


def test_file_system_without_locks(path, monkeypatch):
    """Where no lock can be had, a file may be that of a living process, so it stays."""

    def fail(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", fail)
    path.with_name(LEFTOVER).write_bytes(b"half")
    write(path)
    assert sorted(found.name for found in path.parent.iterdir()) == [LEFTOVER, "rows.csv"]


def test_taken_for_a_leftover(path, monkeypatch):
    """A file that another export removes before it is locked is made again."""
    lock = local_file._lock
    removed = []

    def locking(descriptor):
        if not removed:
            removed.extend(path.parent.iterdir())
            removed[0].unlink()
        lock(descriptor)

    monkeypatch.delattr(os, "O_TMPFILE")
    monkeypatch.setattr(local_file, "_lock", locking)
    write(path)
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_killed_export(hook, sandbox, dataset_id, path):
    """A task that is killed in the middle of a download leaves nothing beside its destination."""
    sandbox.faults.add("/download:slow:20")
    pid = os.fork()
    if not pid:
        hook.export_dataset(dataset_id, path)
        os._exit(0)
    deadline = time.monotonic() + 30
    while not sandbox.count("/download") and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert list(path.parent.iterdir()) == []
