"""Checks of a load: how many rows, and which columns."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaDataError
from airflow_provider_polyteia.tables.load_checks import Load, LoadChecks

COLUMNS = {"id": "int64", "plz": "string"}
LAST = Load(1000, 50_000, COLUMNS)


def check(load, before=LAST, **checks):
    LoadChecks(**checks).check(load, before, "'x.parquet'")


@pytest.mark.parametrize(
    ("checks", "problem"),
    [
        ({"min_rows": -1}, "min_rows is -1"),
        ({"min_rows": "5"}, "min_rows is '5'"),
        ({"max_shrink": 1.5}, "max_shrink is 1.5; it must be a number from 0 to 1"),
        ({"max_shrink": -0.1}, "max_shrink is -0.1"),
        ({"max_shrink": "half"}, "max_shrink is 'half'"),
        ({"on_schema_change": "ignore"}, "must be one of 'warn', 'fail', 'allow'"),
    ],
)
def test_unusable_arguments(checks, problem):
    """An argument that makes no sense fails while the DAG is parsed."""
    with pytest.raises(PolyteiaConfigurationError, match=problem):
        LoadChecks(**checks)


def test_min_rows():
    """Fewer rows than wanted are rejected."""
    check(Load(10, 1, {}), min_rows=10)
    with pytest.raises(
        PolyteiaDataError, match=r"'x.parquet' has 1 row; 'min_rows' is 2,000\. Nothing was sent"
    ) as caught:
        check(Load(1, 1, {}), min_rows=2000)
    assert caught.value.not_applied
    with pytest.raises(PolyteiaConfigurationError, match=r"has a number of rows that is not known"):
        check(Load(None, 1, {}), min_rows=1)


@pytest.mark.parametrize(
    ("load", "before", "text"),
    [
        (Load(499, 49_000, COLUMNS), LAST, "has 499 rows, 50% fewer than the 1,000 of the last load"),
        (Load(0, 49_000, COLUMNS), LAST, "has 0 rows, 100% fewer than the 1,000"),
        (Load(None, 24_999, {}), LAST, "has 24,999 bytes, 50% fewer than the 50,000"),
        (Load(9999, 24_999, {}), Load(None, 50_000, {}), "has 24,999 bytes"),
        (Load(500, 1, COLUMNS), LAST, None),
        (Load(None, 25_000, {}), LAST, None),
        (Load(0, 0, COLUMNS), None, None),
        (Load(0, 0, COLUMNS), Load(0, 0, COLUMNS), None),
        (Load(2000, 99_000, COLUMNS), LAST, None),
    ],
)
def test_max_shrink(load, before, text):
    """Data may shrink by a share of what the last run has loaded: of its rows, or else of its bytes."""
    check(load, before)
    if text is None:
        check(load, before, max_shrink=0.5)
        return
    with pytest.raises(PolyteiaDataError) as caught:
        check(load, before, max_shrink=0.5)
    assert text in str(caught.value)
    assert "'max_shrink' is 0.5" in str(caught.value)


CHANGES = {
    "added": ({**COLUMNS, "ort": "string"}, "added: 'ort' (string)"),
    "removed": ({"id": "int64"}, "removed: 'plz'"),
    "another type": ({**COLUMNS, "plz": "int64"}, "another type: 'plz' (string -> int64)"),
    "all": (
        {"plz": "int64", "ort": "string"},
        "added: 'ort' (string); removed: 'id'; another type: 'plz' (string -> int64)",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_columns(change, caplog):
    """Changed columns are a warning by default; they can be rejected, or allowed."""
    columns, text = CHANGES[change]
    load = Load(1000, 50_000, columns)
    check(load, on_schema_change="allow")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        check(load)
    (record,) = caplog.records
    assert record.getMessage() == f"'x.parquet' has other columns than the last load: {text}."
    with pytest.raises(PolyteiaDataError) as caught:
        check(load, on_schema_change="fail")
    assert f"than the last load: {text}. Nothing was sent" in str(caught.value)


@pytest.mark.parametrize(
    ("load", "before"),
    [
        (Load(1, 1, COLUMNS), None),
        (Load(1, 1, {}), LAST),
        (Load(1, 1, COLUMNS), Load(1, 1, {})),
        (Load(1, 1, dict(reversed(COLUMNS.items()))), LAST),
    ],
)
def test_same_or_unknown_columns(load, before, caplog):
    """Columns that are unknown, or in another order, have not changed."""
    check(load, before, on_schema_change="fail")
    assert not caplog.records


@pytest.mark.parametrize("result", [None, "text", {}, {"bytes": None}, {"bytes": "5"}, ["bytes"]])
def test_results_of_something_else(result):
    """A task may have had another operator before."""
    assert Load.from_result(result) is None


def test_result_of_a_load():
    """What a load has returned is what the next one compares with."""
    assert Load.from_result({"bytes": 5, "rows": 1, "columns": COLUMNS}) == Load(1, 5, COLUMNS)
    assert Load.from_result({"bytes": 5, "rows": None}) == Load(None, 5, {})
