"""The operators, sensors, transfers and triggers of the package, found by walking it, and their arguments."""

from __future__ import annotations

import importlib
import inspect

from airflow.providers.common.compat.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger
from package_imports import PACKAGE, TASK_PARTS, modules_in

from airflow_provider_polyteia.client.upload_condition import UploadWait
from airflow_provider_polyteia.triggers.dataset import DatasetUploadedTrigger
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_0_PLUS

# Arguments that exclude the others of their class.
ALTERNATIVES = {"PolyteiaToFileOperator": {"dataset_id"}}


def classes_in(parts, base):
    """All public subclasses of `base` in some parts of the package."""
    modules = map(importlib.import_module, sorted(modules_in(parts)))
    things = [thing for module in modules for thing in vars(module).values() if inspect.isclass(thing)]
    return list(dict.fromkeys(thing for thing in things if issubclass(thing, base) and is_public(thing)))


def is_public(cls):
    return cls.__module__.startswith(PACKAGE) and not cls.__name__.startswith("_")


def arguments_of(cls):
    """Name -> parameter of all arguments that our classes add to Airflow's."""
    if cls is DatasetUploadedTrigger:  # its arguments are the fields of a dataclass
        return dict(inspect.signature(UploadWait).parameters)
    ours = [kind for kind in cls.__mro__ if kind.__module__.startswith(PACKAGE) and "__init__" in vars(kind)]
    parameters = [parameter for kind in ours for parameter in inspect.signature(kind.__init__).parameters.values()]
    return {p.name: p for p in reversed(parameters) if p.name != "self" and p.kind is not p.VAR_KEYWORD}


def is_required(parameter):
    return parameter.default is parameter.empty


OPERATORS = classes_in(TASK_PARTS, BaseOperator)
# Airflow 2 has no event triggers; the tests of the triggers cover how ours react.
TRIGGERS = [cls for cls in classes_in({"triggers"}, BaseTrigger) if AIRFLOW_V_3_0_PLUS or "Event" not in cls.__name__]
