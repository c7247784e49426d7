"""The provider's metadata, and what Airflow shows of it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from airflow_provider_polyteia import get_provider_info
from airflow_provider_polyteia.client.config import _EXTRAS
from airflow_provider_polyteia.hooks.polyteia import PolyteiaHook
from airflow_provider_polyteia.provider_info import CONNECTION_FIELDS
from airflow_provider_polyteia.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_VERSION

INFO = get_provider_info()
# Before 3.2, Airflow cannot show the form of any provider without these packages.
HAS_FORM_PACKAGES = importlib.util.find_spec("flask_appbuilder") is not None
KNOWS_FORMS = HAS_FORM_PACKAGES or tuple(map(int, AIRFLOW_VERSION.split(".")[:2])) >= (3, 2)
needs_forms = pytest.mark.skipif(not KNOWS_FORMS, reason="Airflow before 3.2 without Flask-AppBuilder")


def resolve(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_every_path_resolves():
    """Every module and class named in provider_info exists."""
    modules = [
        m
        for key in ("hooks", "operators", "sensors", "triggers")
        for i in INFO.get(key, [])
        for m in i["python-modules"]
    ]
    modules += [transfer["python-module"] for transfer in INFO.get("transfers", [])]
    assert all(importlib.import_module(module) for module in modules)
    assert resolve(INFO["connection-types"][0]["hook-class-name"]) is PolyteiaHook
    for entry in INFO.get("asset-uris", []):
        assert all(callable(resolve(entry[key])) for key in entry if key != "schemes")
    assert all(resolve(path)() for path in INFO.get("extra-links", []))


def test_form_fields_are_known_extras():
    """Every field of the form is a supported extra of the configuration."""
    assert set(CONNECTION_FIELDS) <= set(_EXTRAS)


def test_hook_and_declaration_agree():
    """Airflow's registry finds the hook under the same type, name and connection id argument."""
    declared = INFO["connection-types"][0]
    assert declared["connection-type"] == PolyteiaHook.conn_type
    assert declared["hook-name"] == PolyteiaHook.hook_name
    customized = PolyteiaHook.get_ui_field_behaviour()
    assert customized["hidden_fields"] == declared["ui-field-behaviour"]["hidden-fields"]
    assert customized["relabeling"]["password"] == "Personal access key"


@pytest.mark.skipif(not HAS_FORM_PACKAGES, reason="needs Flask-AppBuilder")
def test_form_uses_the_current_classes(monkeypatch):
    """Airflow 3.0 and 3.1 replace the widgets' classes with their own while they build the form; those are used."""
    before = PolyteiaHook.get_connection_form_widgets()
    monkeypatch.setattr("wtforms.StringField", lambda *_args, **_kwargs: "Airflow's own")
    after = PolyteiaHook.get_connection_form_widgets()
    assert before["verify"] != "Airflow's own"
    assert after["verify"] == "Airflow's own"


@needs_forms
@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="the web interface of Airflow 3")
def test_form_in_the_web_interface():
    """The form in the web interface has our fields with their descriptions and labels, and hides unused fields."""
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService  # noqa: PLC0415 - Airflow 3

    (form,) = [meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "polyteia"]
    assert form.standard_fields.login.hidden
    assert form.standard_fields.password.title == "Personal access key"
    assert {name: field["description"] for name, field in form.extra_fields.items()} == {
        name: field["description"] for name, field in CONNECTION_FIELDS.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("command", ["list", "hooks", pytest.param("behaviours", marks=needs_forms)])
def test_airflow_shows_the_provider(command, tmp_path):
    """`airflow providers ...` shows the provider, without a warning that names it."""
    script = (
        "import warnings, logging, sys\n"
        "warnings.filterwarnings('error', module='airflow_provider_polyteia')\n"
        "from airflow.__main__ import main\n"
        f"sys.argv = ['airflow', 'providers', '{command}', '--output', 'json', '--verbose']\n"
        "main()\n"
    )
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "COLUMNS": "500"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    before, bracket, rows = done.stdout.partition("[{")
    assert any("polyteia" in json.dumps(row) for row in json.loads(bracket + rows))
    lines = f"{before}\n{done.stderr}".lower().splitlines()
    # Airflow 3.1 logs for every hook with its own fields that it cannot show them without that package.
    lines = [line for line in lines if "'flask_appbuilder' package is not installed" not in line]
    assert [line for line in lines if "polyteia" in line] == []
