"""The connection pages in the web interfaces of Airflow 3 and Airflow 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from browser import Browser


# The page of a task in Airflow 3 without the grid, and the button on the border between them.
TASK_PAGE = "#details-panel"
TASK_PAGE_TOGGLE = "[aria-label='Collapse Details Panel']"


@dataclass(frozen=True)
class Field:
    """A form field as the user sees it."""

    kind: str
    placeholder: str
    help: str


# Returns label, type, placeholder and help of each visible field in the element `arguments[0]`.
_READ_FIELDS = """
const rows = [...arguments[0].querySelectorAll(arguments[1])].filter(row => row.checkVisibility());
return rows.filter(row => row.querySelector('input, textarea')).map(row => {
    const input = row.querySelector('input, textarea'), help = row.querySelector(arguments[2]);
    const label = row.querySelector('label').innerText.trim();
    return [label, input.type, input.placeholder, help ? help.innerText.trim() : ''];
})
"""


class ConnectionPages3:
    """Admin -> Connections in Airflow 3."""

    name = "airflow3"
    form = "[role=dialog]"
    has_sections = True  # of which one is open at a time
    window = (1000, 460)  # for screenshots of the list

    def __init__(self, browser: Browser, url: str, username: str, password: str) -> None:
        self.browser, self.url = browser, url
        self._login = username, password

    def sign_in(self) -> None:
        """Sign in, and open the list of connections."""
        self.browser.open(f"{self.url}/connections")
        self.browser.fill("input[name=username]", self._login[0])
        self.browser.fill("input[name=password]", self._login[1])
        self.browser.click("button[type=submit]")
        self.browser.find("button", "Add Connection")

    def open_empty_form(self, conn_id: str) -> None:
        """Open the form for a new connection of the type Polyteia."""
        self.browser.open(f"{self.url}/connections")
        self.browser.click("button", "Add Connection")
        self.browser.fill("[role=dialog] input[name=connection_id]", conn_id)
        self.browser.find("[role=dialog] [role=combobox]").send_keys("Polyteia")
        self.browser.click("[role=dialog] [role=option]", "Polyteia")
        self.browser.find("[role=dialog] input[name=password]")

    def fields(self) -> dict[str, Field]:
        """Return the fields in the open sections of the form, by label."""
        form = self.browser.find("[role=dialog]")
        found = self.browser.run(_READ_FIELDS, form, "[data-scope=field][data-part=root]", "[data-part=helper-text]")
        return {label: Field(*seen) for label, *seen in found}

    def open_extra_fields(self) -> None:
        """Open the section with the provider's own fields; this closes the other section."""
        self.browser.click("[role=dialog] button", "Extra Fields")
        self.browser.find("[role=dialog] [name=element_organization_id]")

    def fill(self, name: str, value: str) -> None:
        """Enter a value into a standard field: host, port or password."""
        self.browser.fill(f"[role=dialog] [name={name}]", value)

    def fill_extra(self, name: str, value: str) -> None:
        """Enter a value into one of the provider's own fields."""
        self.browser.fill(f"[role=dialog] [name=element_{name}]", value)

    def save(self, conn_id: str) -> None:
        """Save the form, and wait for the connection in the list."""
        self.browser.click("[role=dialog] button", "Save")
        self.browser.find("tr", conn_id)

    def open_form_of(self, conn_id: str) -> None:
        """Open a saved connection."""
        self.browser.open(f"{self.url}/connections")
        self._row_button(conn_id, "Edit Connection")
        self.browser.find("[role=dialog] input[name=password]")

    def values(self) -> dict[str, Any]:
        """Return the values of the fields, by name."""
        inputs = self.browser.driver.find_elements("css selector", "[role=dialog] [name]")
        return {item.get_attribute("name").removeprefix("element_"): item.get_attribute("value") for item in inputs}

    def result_of_test(self, conn_id: str, key: str) -> str:  # noqa: ARG002 - the other interface needs the key
        """Press Test for a saved connection; return the message that Airflow shows."""
        self.browser.open(f"{self.url}/connections")
        self._row_button(conn_id, "Test Connection")
        # The toast's title appears before its description, which contains the message.
        self.browser.find("[data-scope=toast][data-part=title]", "Test Connection")
        return self.browser.find("[data-scope=toast][data-part=description]").text

    def _row_button(self, conn_id: str, label: str) -> None:
        self.browser.find("tr", conn_id)
        row = next(i for i, row in enumerate(self.browser.all("tbody tr"), 1) if conn_id in row.text.split())
        self.browser.click(f"tbody tr:nth-child({row}) button[aria-label='{label}']")


class ConnectionPages2:
    """Admin -> Connections in Airflow 2."""

    name = "airflow2"
    form = "#model_form"
    has_sections = False
    window = (1280, 960)  # for screenshots of the form

    def __init__(self, browser: Browser, url: str, username: str, password: str) -> None:
        self.browser, self.url = browser, url
        self._login = username, password

    def sign_in(self) -> None:
        """Sign in."""
        self.browser.open(f"{self.url}/login/")
        self.browser.fill("#username", self._login[0])
        self.browser.fill("#password", self._login[1])
        self.browser.click("input[type=submit]")
        self.browser.find(".navbar", "Admin")

    def open_empty_form(self, conn_id: str) -> None:
        """Open the form for a new connection of the type Polyteia."""
        self.browser.open(f"{self.url}/connection/add")
        self.browser.fill("#conn_id", conn_id)
        self.browser.run("jQuery('#conn_type').val('polyteia').trigger('change')")
        self.browser.find("label", "Personal access key")

    def fields(self) -> dict[str, Field]:
        """Return the fields of the form, by label."""
        found = self.browser.run(_READ_FIELDS, self.browser.find("#model_form"), "tr:has(label)", ".help-block")
        return {label: Field(*seen) for label, *seen in found}

    def open_extra_fields(self) -> None:
        """Do nothing: this form shows all its fields at once."""

    def fill(self, name: str, value: str) -> None:
        """Enter a value into a standard field: host, port or password."""
        self.browser.fill(f"#{name}", value)

    def fill_extra(self, name: str, value: str) -> None:
        """Enter a value into one of the provider's own fields."""
        self.browser.fill(f"#extra__polyteia__{name}", value)

    def save(self, conn_id: str) -> None:
        """Save the form, and wait for the connection in the list."""
        self.browser.click("button[type=submit]", "Save")
        self.browser.find(".alert", "Added Row")
        self.browser.open(f"{self.url}/connection/list/")
        self.browser.find("tr", conn_id)

    def open_form_of(self, conn_id: str) -> None:
        """Open a saved connection."""
        self.browser.open(f"{self.url}/connection/list/?_flt_3_conn_id={conn_id}")
        self.browser.click("a[href*='/connection/edit/']")
        self.browser.find("label", "Personal access key")

    def values(self) -> dict[str, Any]:
        """Return the values of the fields, by name."""
        inputs = self.browser.driver.find_elements("css selector", "#model_form [name]")
        return {
            item.get_attribute("name").removeprefix("extra__polyteia__"): item.get_attribute("value") for item in inputs
        }

    def result_of_test(self, conn_id: str, key: str) -> str:
        """Enter the key again in the form of a saved connection and press Test; return the message Airflow shows."""
        self.open_form_of(conn_id)
        self.fill("password", key)
        self.browser.click("#test-connection")
        self.browser.run("scrollTo(0, 0)")
        return self.browser.find(".alert-success, .alert-danger, .alert-error").text
