"""The connection form in a real browser, in Airflow 3 and in Airflow 2.11."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from airflow2_web import Airflow2Webserver
from airflow_env import AIRFLOW_3
from browser import TALL, Browser
from connection_pages import ConnectionPages2, ConnectionPages3, Field

from airflow_provider_polyteia.provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from airflow_provider_polyteia.sandbox import SANDBOX_ORGANIZATION_ID

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
KEYS = {"polyteia_city": None, "polyteia_invalid_key": "pak_invalid_key_of_the_browser_tests_c07d"}
EXTRAS = {"organization_id": SANDBOX_ORGANIZATION_ID, "timeout": "30", "max_attempts": "7", "verify": "true"}


@pytest.fixture(scope="module", params=[ConnectionPages3, ConnectionPages2], ids=lambda kind: kind.name)
def pages(request, tmp_path_factory):
    """The connection pages in a browser that is signed in to this version of Airflow."""
    if request.param is ConnectionPages2:
        with Airflow2Webserver(tmp_path_factory.mktemp("airflow2")) as airflow, Browser() as browser:
            yield signed_in(ConnectionPages2, browser, airflow)
    elif AIRFLOW_3:
        airflow = request.getfixturevalue("airflow")
        with Browser() as browser:
            yield signed_in(ConnectionPages3, browser, airflow)
    else:
        pytest.skip("this is Airflow 2")


def signed_in(kind, browser, airflow):
    pages = kind(browser, airflow.url, airflow.username, airflow.password)
    pages.sign_in()
    return pages


@pytest.fixture(scope="module")
def saved(pages, platform):
    """Connections entered in the form: one with the platform's key and all extras, one with an invalid key."""
    address = urlsplit(platform.base_url)
    for conn_id, key in KEYS.items():
        pages.open_empty_form(conn_id)
        pages.fill("host", f"http://{address.hostname}")
        pages.fill("port", str(address.port))
        pages.fill("password", key or platform.pak)
        if key is None:
            pages.open_extra_fields()
            for name, value in EXTRAS.items():
                pages.fill_extra(name, value)
        pages.save(conn_id)
    return KEYS


def test_standard_fields_have_our_labels_and_placeholders(pages):
    """Host, key and port have placeholders, the key is a password field; login and schema are hidden."""
    pages.open_empty_form("polyteia_default")
    shown = pages.fields()
    pages.browser.screenshot(f"connection-{pages.name}", pages.form, TALL)
    hints = FIELD_BEHAVIOUR["placeholders"]
    assert shown["Personal access key"] == Field("password", hints["password"], "")
    assert (shown["Host (optional)"].kind, shown["Host (optional)"].placeholder) == ("text", hints["host"])
    assert shown["Port (optional)"].placeholder == hints["port"]
    assert not {label for label in shown if label.lower() in ("login", "schema", "password", "host", "port")}


def test_the_form_has_the_fields_of_the_tutorial(pages):
    """The labels in the tutorial are those of the form; with the tutorial's values, it is the tutorial's picture."""
    if not pages.has_sections:
        pytest.skip("the tutorial uses Airflow 3")
    rows = dict(re.findall(r"^\| ([A-Z].+?) \| `(.+)` \|$", TUTORIAL.read_text(), re.MULTILINE))
    names = {"Host (optional)": "host", "Personal access key": "password", "Port (optional)": "port"}
    pages.open_empty_form(rows.pop("Connection ID"))
    assert set(names) <= set(pages.fields())
    for label, name in names.items():
        pages.fill(name, rows.pop(label))
    pages.browser.screenshot("tutorial-connection-airflow3", pages.form, TALL)
    pages.open_extra_fields()
    assert {label.partition(" (expand ")[0] for label in rows} <= set(pages.fields())
    assert list(rows) == ["UI URL pattern (expand *Extra Fields*)"]


def test_own_fields_have_labels_and_help(pages):
    """Each declared field is shown in the declared order, with its help text."""
    pages.open_empty_form("polyteia_default")
    pages.open_extra_fields()
    shown = pages.fields()
    if pages.has_sections:
        pages.browser.screenshot(f"connection-extra-{pages.name}", pages.form, TALL)
    declared = {field["label"]: field["description"] for field in CONNECTION_FIELDS.values()}
    own = {label: field.help for label, field in shown.items() if label in declared}
    assert list(own.items()) == list(declared.items())
    assert "null" not in pages.browser.find(pages.form).text.splitlines()  # an API that is not selected


def test_a_saved_connection_does_not_show_its_key(pages, saved, platform):
    """The form of a saved connection contains the entered values except the key, which is not in the page at all."""
    pages.open_form_of("polyteia_city")
    values = pages.values()
    assert values["host"] == "http://127.0.0.1"
    assert values["port"] == str(urlsplit(platform.base_url).port)
    assert values["password"] in ("", "***")
    assert {name: values[name] for name in EXTRAS} == EXTRAS
    assert platform.pak not in pages.browser.driver.page_source


def test_the_test_button_names_the_organization(pages, saved, platform):
    """With a valid key, Test shows the name of the organization; the hook has read all extras."""
    exchanged = platform.recorder.counts["/auth/pak/token"]
    message = pages.result_of_test("polyteia_city", platform.pak)
    pages.browser.screenshot(f"connection-test-{pages.name}", size=pages.window)
    assert "Connected to organization 'Stadt Musterhausen'." in message
    assert platform.recorder.counts["/auth/pak/token"] == exchanged + 1


def test_the_test_button_gives_advice_for_an_invalid_key(pages, saved):
    """With an invalid key, Test shows advice that fits the form, and does not show the key."""
    message = pages.result_of_test("polyteia_invalid_key", saved["polyteia_invalid_key"])
    pages.browser.screenshot(f"connection-wrong-key-{pages.name}", size=pages.window)
    assert "create a new key in Polyteia under Settings -> Personal Access Keys" in message
    assert "put it into this connection" in message
    assert saved["polyteia_invalid_key"] not in message
