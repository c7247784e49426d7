"""Builds the connection form of Airflow before 3.2 from its declaration in `provider_info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def widgets(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a form widget for each declared field; all of them are optional."""
    return {name: _widget(field) for name, field in fields.items()}


def _widget(field: Mapping[str, Any]) -> Any:
    # Imported for each form: while Airflow 3.0 and 3.1 build it, they put their own classes into these packages.
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget  # noqa: PLC0415 - see above
    from flask_babel import lazy_gettext  # noqa: PLC0415 - see above
    from wtforms import IntegerField, StringField  # noqa: PLC0415 - see above
    from wtforms.validators import Optional  # noqa: PLC0415 - see above

    kind = IntegerField if "integer" in field["schema"]["type"] else StringField
    return kind(
        lazy_gettext(field["label"]),
        widget=BS3TextFieldWidget(),
        description=field["description"],
        validators=[Optional()],
    )
