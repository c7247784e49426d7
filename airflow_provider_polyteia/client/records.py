"""What all APIs say about a dataset's data, in one form. Performs no I/O."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime
from typing import Any, NamedTuple, Self

from airflow_provider_polyteia.client.json_values import to_encodable
from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError

Record = dict[str, Any]

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T")
_ZERO_TIMES = ("0001-01-01", "0000-")  # the latter west of UTC


class DatasetRef(NamedTuple):
    """What identifies a dataset: its id, or its solution and slug; never both."""

    dataset_id: str | None = None
    solution_id: str | None = None
    slug: str | None = None

    @classmethod
    def of(cls, dataset_id: str | None, solution_id: str | None, slug: str | None) -> Self:
        """Check the arguments by which a user names a dataset.

        :raises PolyteiaConfigurationError: if they are incomplete or name it twice.
        """
        by_id = dataset_id and not (solution_id or slug)
        by_slug = solution_id and slug and not dataset_id
        if not (by_id or by_slug):
            raise PolyteiaConfigurationError(
                "Specify either dataset_id, or both solution_id and slug; "
                f"got dataset_id={dataset_id!r}, solution_id={solution_id!r}, slug={slug!r}."
            )
        return cls(dataset_id or None, solution_id or None, slug or None)

    @property
    def identifiers(self) -> dict[str, str]:
        """The identifiers by name: ``id``, or ``solution_id`` and ``slug``."""
        named = {"id": self.dataset_id, "solution_id": self.solution_id, "slug": self.slug}
        return {name: value for name, value in named.items() if value}

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.identifiers.items())


class Upload(NamedTuple):
    """The last upload into a dataset.

    :param uploaded_at: the upload's timestamp as the platform writes it.
    :param timestamp: the same as a datetime.
    :param size: bytes; None if the platform does not say.
    """

    dataset_id: str
    slug: str | None
    uploaded_at: str
    timestamp: datetime
    size: int | None
    content_type: str | None

    def summary(self) -> dict[str, Any]:
        """Return what tasks and events pass on; Airflow can encode it."""
        fields = {
            "id": self.dataset_id,
            "slug": self.slug,
            "uploaded_at": self.uploaded_at,
            "size": self.size,
            "content_type": self.content_type,
        }
        encodable: dict[str, Any] = to_encodable(fields)
        return encodable


def upload_by_field(record: Record, field: str, conn_id: str) -> Upload | None:
    """Return what a date field of a dataset's record shows as its last upload; None while the field `is_unset`.

    :param field: name of the field, e.g. ``data_as_of``.
    :param conn_id: id of the Airflow connection, for the exception.
    :raises PolyteiaConfigurationError: if the record has no such field; the text lists its date fields.
    """
    value: Any = record.get(field)
    timestamp = parse_record_timestamp(value)
    if field not in record or (timestamp is None and not is_unset(value)):
        found = sorted(name for name, item in record.items() if isinstance(item, str) and _DATE.match(item))
        problem = "does not contain a date" if field in record else "does not exist"
        raise PolyteiaConfigurationError(
            f"The field {field!r} {problem} in the record of dataset {record.get('id')!r} (connection {conn_id!r}). "
            + (
                f"Its date fields are {', '.join(found)}; name one of them as 'timestamp_field'."
                if found
                else "The record has no date fields, so uploads by others cannot be seen."
            ),
            method="get_dataset",
            conn_id=conn_id,
        )
    if timestamp is None:
        return None
    slug = record.get("slug")
    return Upload(str(record.get("id")), slug if isinstance(slug, str) else None, value, timestamp, None, None)


class Accepted(NamedTuple):
    """An upload that the platform accepted.

    :param ingest_id: id of the ingest that must complete before the data is there; None where there is no such thing.
    """

    ingest_id: str | None = None


class UploadCheck(NamedTuple):
    """What could be found out about an upload without sending it.

    :param may_upload: True if the account may replace the dataset's data, or create the dataset that does not exist
        yet; None if that is not known.
    :param terms_acknowledged: True if the account has acknowledged the data-processing terms of the solution; None if
        that is not known.
    """

    may_upload: bool | None
    terms_acknowledged: bool | None


class Ingest(NamedTuple):
    """The state of an ingest.

    :param status: as the platform writes it; ``completed`` and ``failed`` are final.
    :param message: the platform's reason for a failure, without secrets; empty if it sent none.
    """

    status: str
    message: str = ""


def parse_timestamp(text: Any) -> datetime | None:
    """Return a timestamp as a datetime, in UTC if it has no time zone; None if it is not a timestamp."""
    try:
        timestamp = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)


def is_unset(value: Any) -> bool:
    """Return True if a date field of a record has no value: null, an empty string, or a zero time in any time zone.

    The platform may write "no upload yet" in any of these ways (docs/platform-api.md#last-upload).
    """
    text = value.strip() if isinstance(value, str) else value
    return text is None or text == "" or (isinstance(text, str) and text.startswith(_ZERO_TIMES))


def parse_record_timestamp(value: Any) -> datetime | None:
    """Return a date field of a record as a datetime; None if it `is_unset`, or is not a timestamp."""
    return None if is_unset(value) else parse_timestamp(value)


def is_same(stored: Any, sent: Any, *, ignore_case: bool = False) -> bool:
    """Return True if a stored value is what was sent, apart from what a platform may change when it stores a text:
    surrounding whitespace, the form of Unicode characters, and null for an empty value.

    :param ignore_case: whether it may change upper and lower case as well, as in a slug. Default: False.
    """
    return bool(_normalized(stored, ignore_case) == _normalized(sent, ignore_case))


def _normalized(value: Any, ignore_case: bool) -> Any:
    if not isinstance(value, str):
        return value or ""
    text = unicodedata.normalize("NFC", value).strip()
    return text.casefold() if ignore_case else text


def parse_user_timestamp(value: str | datetime | None, where: str) -> datetime | None:
    """Return a timestamp that a user gave as a datetime.

    :param where: what the exception calls it.
    :raises PolyteiaConfigurationError: if it is not a timestamp.
    """
    if value is None:
        return None
    timestamp = parse_timestamp(value.isoformat() if isinstance(value, datetime) else value)
    if timestamp is None:
        raise PolyteiaConfigurationError(
            f"{where} is {value!r}; it must be an ISO 8601 timestamp such as '2026-03-01T06:00:00+01:00'. A template "
            "that may render to an empty value needs a default: {{ prev_end_date_success or '1970-01-01' }}."
        )
    return timestamp


def format_source_timestamp(value: str | date) -> str:
    """Return the as-of time of data as the platform takes it: RFC 3339 in UTC (docs/platform-api.md#source-timestamp).

    :raises PolyteiaConfigurationError: if it is not a timestamp.
    """
    timestamp = _to_utc(parse_timestamp(value.isoformat() if isinstance(value, date) else value))
    if timestamp is None:
        raise PolyteiaConfigurationError(
            f"source_timestamp is {value!r}; it must be an ISO 8601 timestamp such as '2026-03-01T06:00:00+01:00', or "
            "a date."
        )
    return timestamp.isoformat().replace("+00:00", "Z")


def _to_utc(timestamp: datetime | None) -> datetime | None:
    """Return a timestamp in UTC; None if it lies outside of the years 1 to 9999 there."""
    try:
        return None if timestamp is None else timestamp.astimezone(UTC)
    except OverflowError:
        return None
