"""`storage`: the names of files as valid text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_provider_polyteia.storage import display_name, file_name, public_name, to_path


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Straße.csv", "Straße.csv"),
        (Path("/data/Straße.csv"), "/data/Straße.csv"),
        ("s3://bucket/\U0001f333.csv", "s3://bucket/\U0001f333.csv"),
        (os.fsdecode(b"Stra\xdfe.csv"), "Stra\ufffde.csv"),
        (Path(os.fsdecode(b"/data/Stra\xdfe.csv")), "/data/Stra\ufffde.csv"),
        (os.fsdecode("Straße".encode() + b"\xff.csv"), "Straße\ufffd.csv"),
        ("s3://bucket/a\ud800.csv", "s3://bucket/a\ufffd.csv"),
    ],
)
def test_display_name(name, shown):
    """Valid names are unchanged; everything that is not valid UTF-8 is replaced."""
    assert display_name(name) == shown


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (Path("/data/a?b.csv"), "/data/a?b.csv"),
        ("s3://conn@bucket/day=1/a?b.csv", "s3://conn@bucket/day=1/a?b.csv"),
        ("sftp://reader:S3CRET@host/a.csv", "sftp://reader:***@host/a.csv"),
        ("sftp://reader:p@S3CRET@host/a@b.csv", "sftp://reader:***@host/a@b.csv"),
        ("https://host:8443/a@b.csv", "https://host:8443/a@b.csv"),
        ("https://host/a.csv?X-Amz-Signature=S3CRET&x=1", "https://host/a.csv?***"),
    ],
)
def test_public_name(source, shown):
    """Passwords and queries of URLs are hidden; names and ids of connections are not."""
    assert public_name(source) == shown


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/data/a?b.csv", "a?b.csv"),
        ("s3://conn@bucket/a?b.csv", "a?b.csv"),
        ("https://host/a.csv?X-Amz-Signature=S3CRET", "a.csv"),
    ],
)
def test_file_name(source, name):
    """The query of a web address is not part of the name that the platform receives."""
    assert file_name(to_path(source)) == name
