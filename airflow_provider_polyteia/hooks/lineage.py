"""Reports to Airflow's hook lineage which datasets and files a hook has read and written."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_polyteia.assets.polyteia import dataset_uri
from airflow_provider_polyteia.version_compat import lineage_is_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow.providers.common.compat.sdk import BaseHook

log = logging.getLogger(__name__)


def read_datasets(hook: BaseHook, base_url: str, dataset_ids: Iterable[str]) -> None:
    """Report datasets as input."""
    for dataset_id in dataset_ids:
        _report("input", hook, partial(dataset_uri, base_url, dataset_id))


def wrote_dataset(hook: BaseHook, base_url: str, dataset_id: str, extra: Mapping[str, Any] | None = None) -> None:
    """Report a dataset as output.

    :param extra: facts about the write, such as its bytes. Default: none.
    """
    _report("output", hook, partial(dataset_uri, base_url, dataset_id), extra)


def read_file(hook: BaseHook, path: Any) -> None:
    """Report a file as input: a `Path` or an `ObjectStoragePath`."""
    _report("input", hook, partial(file_uri, path))


def wrote_file(hook: BaseHook, path: Any) -> None:
    """Report a file as output: a `Path` or an `ObjectStoragePath`."""
    _report("output", hook, partial(file_uri, path))


def file_uri(path: Any) -> str:
    """Return the URI of a file, without what grants access: an Airflow connection, a password, a signature."""
    from airflow_provider_polyteia.storage import is_local  # noqa: PLC0415 - most tasks move no file

    if is_local(path):
        uri: str = path.absolute().as_uri()
    elif path.protocol in ("http", "https"):  # in object storage, a question mark belongs to the name
        uri = urlsplit(path.path)._replace(query="").geturl()
    else:
        parts = urlsplit(str(path))
        uri = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return uri


def _report(direction: str, hook: BaseHook, uri: Callable[[], str], extra: Mapping[str, Any] | None = None) -> None:
    if not lineage_is_read():
        return
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector  # noqa: PLC0415 - slow to import

    collector = get_hook_lineage_collector()  # type: ignore[no-untyped-call]  # Airflow's function is not typed
    add = collector.add_input_asset if direction == "input" else collector.add_output_asset
    try:
        add(context=hook, uri=uri(), asset_extra=dict(extra or {}))
    except ValueError as error:  # a name that no asset may have must not fail the work that was done
        log.warning("Could not report this %s to hook lineage: %s", direction, error)
