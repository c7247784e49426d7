"""The table of exchanges itself, without a server."""

from __future__ import annotations

import json

import pytest
from orpc.exchanges import EXCHANGES, GIVEN, find

SOME_GIVEN = {name: f"{name}-1" for name in GIVEN}


@pytest.mark.parametrize("dialect", [1, 2])
@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_example(exchange, dialect):
    """The example of a response matches; with another status it does not."""
    status, content_type, body = exchange.example(dialect, SOME_GIVEN)
    assert exchange.matches(dialect, SOME_GIVEN, status, content_type, body)
    assert not exchange.matches(dialect, SOME_GIVEN, status + 1, content_type, body)


def test_unique_names():
    """No two exchanges have the same name."""
    assert len({exchange.name for exchange in EXCHANGES}) == len(EXCHANGES)


def test_errors_of_the_dialects_differ():
    """An error of one dialect does not match in the other, nor does a date."""
    for name in ("get of an unknown id", "get", "delete"):
        exchange = find(name)
        assert not exchange.matches(2, SOME_GIVEN, *exchange.example(1, SOME_GIVEN)), name
        assert not exchange.matches(1, SOME_GIVEN, *exchange.example(2, SOME_GIVEN)), name


@pytest.mark.parametrize(
    ("meta", "matches"),
    [
        ([[1, "createdAt"], [1, "updatedAt"]], True),
        ([[1, "updatedAt"], [1, "createdAt"]], True),
        ([[1, "createdAt"], [1, "updatedAt"], [1, "deletedAt"]], True),
        ([[1, "createdAt"]], False),
        ([[1, "createdAt"], [1, "updatedAt"], [1, "name"]], False),
        ([[0, "createdAt"], [1, "updatedAt"]], False),
        ([], False),
        (None, False),
    ],
)
def test_meta(meta, matches):
    """The order of meta is free; a missing entry, one with another type, and one for a field without a type are not."""
    exchange = find("get")
    status, content_type, body = exchange.example(1, SOME_GIVEN)
    body = json.dumps(json.loads(body) | {"meta": meta}).encode()
    assert exchange.matches(1, SOME_GIVEN, status, content_type, body) is matches
