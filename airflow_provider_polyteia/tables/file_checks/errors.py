"""What the checks of files raise."""

from __future__ import annotations

from airflow_provider_polyteia.exceptions import PolyteiaDataError

NOTHING_SENT = "Nothing was sent, and the dataset keeps its data."
CONVERT = "Set the argument 'convert' to True to convert it."


class Reject(Exception):  # noqa: N818 - caught within this package only
    """A file is not in the format of its content type.

    :param found: what it is, as the end of the sentence "The file is ...".
    :param advice: what to do about it, as sentences. Default: to check the source of the file.
    """

    def __init__(self, found: str, advice: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.advice = advice or "Check the source of the file."


def data_error(name: str, expected: str, rejected: Reject) -> PolyteiaDataError:
    """Return the exception for a file that is not in the format of its content type.

    :param name: of the file.
    :param expected: what it should be, such as "CSV".
    """
    return PolyteiaDataError(
        f"{name!r} cannot be uploaded as {expected}: it is {rejected.found}. {rejected.advice} {NOTHING_SENT} To "
        "upload it anyway, set 'check' to False.",
        not_applied=True,
    )
