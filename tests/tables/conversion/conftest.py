from __future__ import annotations

import pytest
from conversions import converted


@pytest.fixture
def convert(tmp_path):
    """Writes a file, and returns the types and the rows of what it is converted to."""

    def run(content, convert=True, name="x.csv", **arguments):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return converted(str(path), convert, **arguments)

    return run
