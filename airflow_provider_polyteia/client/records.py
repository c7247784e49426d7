"""What a dataset's record says about its data, and whether somebody waits for just that. Pure; no I/O.

Worker and triggerer both decide here, so that a wait ends alike wherever it takes place.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_polyteia.client.calls import make_call
from airflow_provider_polyteia.exceptions import (
    PolyteiaConfigurationError,
    PolyteiaNotFoundError,
    PolyteiaProtocolError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_polyteia.client.calls import Call
    from airflow_provider_polyteia.exceptions import PolyteiaError


class Upload(NamedTuple):
    """The last upload into a dataset (API reference 5.4).

    :param uploaded_at: as the platform writes it.
    :param moment: the same as a moment.
    :param size: bytes; None if the platform does not say.
    """

    dataset_id: str
    slug: str | None
    uploaded_at: str
    moment: datetime
    size: int | None
    content_type: str | None

    def summary(self) -> dict[str, Any]:
        """Return what tasks and events pass on: JSON, and small."""
        return {
            "id": self.dataset_id,
            "slug": self.slug,
            "uploaded_at": self.uploaded_at,
            "size": self.size,
            "content_type": self.content_type,
        }


def last_upload(record: Mapping[str, Any]) -> Upload | None:
    """Read the last upload from a dataset's record; None if there was none yet.

    :raises PolyteiaProtocolError: if the record says something about it that makes no sense.
    """
    metadata = record.get("metadata")
    info = metadata.get("asset_info") if isinstance(metadata, dict) else None
    if not isinstance(info, dict) or info.get("uploaded_at") is None:
        return None
    uploaded_at = info["uploaded_at"]
    at = moment(uploaded_at)
    if at is None:
        raise PolyteiaProtocolError(
            f"Polyteia's record of dataset {record.get('id')!r} says that it was uploaded at {uploaded_at!r}, which is "
            "no timestamp.",
            method="get_dataset",
        )
    size, kind, slug = info.get("size"), info.get("content_type"), record.get("slug")
    return Upload(
        dataset_id=str(record.get("id")),
        slug=slug if isinstance(slug, str) else None,
        uploaded_at=uploaded_at,
        moment=at,
        size=size if isinstance(size, int) else None,
        content_type=kind if isinstance(kind, str) else None,
    )


def moment(text: Any) -> datetime | None:
    """Read a timestamp; without a time zone it means UTC. None if it is no timestamp."""
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def parse_moment(value: str | datetime | None, where: str) -> datetime | None:
    """Read a moment that a user has given.

    :param where: what the error calls it.
    :raises PolyteiaConfigurationError: if it is no moment.
    """
    if value is None:
        return None
    at = moment(value.isoformat() if isinstance(value, datetime) else value)
    if at is None:
        raise PolyteiaConfigurationError(
            f"{where} is {value!r}; it must be a moment such as '2026-03-01T06:00:00+01:00'. A template that may be "
            "empty needs a default: {{ prev_start_date_success or '1970-01-01' }}."
        )
    return at


def source_timestamp(value: str | date) -> str:
    """Return a moment as ``update_dataset_source_info`` takes it: RFC 3339 in UTC (API reference 4.4).

    :raises PolyteiaConfigurationError: if it is no moment.
    """
    at = moment(value.isoformat() if isinstance(value, date) else value)
    if at is None:
        raise PolyteiaConfigurationError(
            f"The source_timestamp is {value!r}; it must be a moment such as '2026-03-01T06:00:00+01:00', or a date."
        )
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


class Condition(NamedTuple):
    """What a wait is for.

    :param reference: the params that identify the dataset: ``id``, or ``solution_id`` and ``slug``.
    :param uploaded_after: the upload must be later; None: any upload.
    :param min_size: bytes it must have at least; None: any size.
    :param wait_for_creation: whether a dataset that does not exist is waited for; otherwise it is an error.
    """

    reference: Mapping[str, str]
    uploaded_after: datetime | None = None
    min_size: int | None = None
    wait_for_creation: bool = False

    @property
    def call(self) -> Call:
        """The query that asks for the dataset."""
        return make_call("query", "get_dataset", self.reference, needs="id")

    def met_by(self, record: Mapping[str, Any]) -> Upload | None:
        """Return the upload that is waited for; None if it has not happened yet."""
        upload = last_upload(record)
        return upload if upload is not None and self.accepts(upload) else None

    def accepts(self, upload: Upload) -> bool:
        """Tell whether this is the upload that is waited for."""
        late_enough = self.uploaded_after is None or upload.moment > self.uploaded_after
        big_enough = self.min_size is None or (upload.size is not None and upload.size >= self.min_size)
        return late_enough and big_enough

    def tolerates(self, error: PolyteiaError) -> bool:
        """Tell whether an error only means that the dataset does not exist yet."""
        return self.wait_for_creation and isinstance(error, PolyteiaNotFoundError)
