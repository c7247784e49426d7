"""The grammar of faults, and the calls to which they are applied."""

from __future__ import annotations

import pytest

from airflow_provider_polyteia.sandbox.command_api import COMMAND_API
from airflow_provider_polyteia.sandbox.faults import FaultError, Faults
from airflow_provider_polyteia.sandbox.faults.specs import parse_fault


@pytest.mark.parametrize(
    ("spec", "argument", "first", "last", "probability"),
    [
        ("create_dataset:drop-after:1", 0, 1, 1, 1),
        ("*:hang:0.5", 0.5, 1, None, 1),
        ("/upload:drop-at:99:2-4", 99, 2, 4, 1),
        ("get_dataset:status:503:3-", 503, 3, None, 1),
        ("/auth/pak/token:retry-after:5:p=0.3", 5, 1, None, 0.3),
        (" list_datasets:garbage ", 0, 1, None, 1),
    ],
)
def test_faults_are_parsed(spec, argument, first, last, probability):
    """Kind, argument and call selector are parsed."""
    fault = parse_fault(spec, COMMAND_API.calls)
    assert fault.argument == argument
    assert (fault.selector.first, fault.selector.last, fault.selector.probability) == (first, last, probability)


@pytest.mark.parametrize(
    ("spec", "about"),
    [
        ("", "not a known command"),
        ("create_datset:drop-after", "create_datset"),
        ("create_dataset", "not a kind of fault"),
        ("create_dataset:explode", "explode"),
        ("create_dataset:hang", "seconds"),
        ("create_dataset:hang:soon", "soon"),
        ("create_dataset:status:200", "400 to 599"),
        ("create_dataset:drop-after:0", "call selector '0'"),
        ("create_dataset:drop-after:4-2", "call selector '4-2'"),
        ("create_dataset:drop-after:p=2", "call selector 'p=2'"),
        ("create_dataset:drop-after:1:2", "remove '2' after the call selector"),
        ("create_dataset:short", "/download"),
        ("*:drop-at:50", "/upload and /download"),
        ("/upload:drop-at:101", "0 to 100"),
    ],
)
def test_invalid_faults_are_rejected(spec, about):
    """The error contains the fault and the cause."""
    with pytest.raises(FaultError, match=about) as caught:
        parse_fault(spec, COMMAND_API.calls)
    assert repr(spec) in str(caught.value)


def test_none_is_added_if_one_is_invalid():
    """Adding several faults adds all or none."""
    faults = Faults(COMMAND_API.calls)
    with pytest.raises(FaultError):
        faults.add("*:garbage", "nonsense")
    assert list(faults) == []


def test_calls_are_counted_by_name_from_when_the_fault_was_added():
    """Calls are counted by name since the fault was added. The first fault that matches is applied."""
    faults = Faults(COMMAND_API.calls)
    faults.add("get_dataset:garbage:2", "*:html:2-3")
    names = ["get_dataset", "get_dataset", "create_dataset", "get_dataset"]
    struck = [fault.kind if (fault := faults.pick(name)) else None for name in names]
    assert struck == [None, "garbage", "html", None]


def test_probabilities_follow_the_seed():
    """The same seed selects the same calls, and the probability determines their share."""
    runs = []
    for seed in (1, 1, 2):
        faults = Faults(COMMAND_API.calls, seed=seed)
        faults.add("*:garbage:p=0.3")
        runs.append([faults.pick("get_dataset") is not None for _ in range(1000)])
    assert runs[0] == runs[1] != runs[2]
    assert 250 < sum(runs[0]) < 350
