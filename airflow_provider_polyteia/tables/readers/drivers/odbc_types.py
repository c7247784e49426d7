"""The types that an ODBC driver reports of a query's columns.

`cursor.description` of pyodbc has the Python type of a column only, which is the same for many types. Since pyodbc 5.4,
a cursor has the handle of its statement, and `SQLColAttribute` tells the rest.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import importlib
import sys
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# ODBC's numbers of types.
BIT, TINYINT, SMALLINT, INTEGER, BIGINT = -7, -6, 5, 4, -5
NUMERIC, DECIMAL, FLOAT, REAL, DOUBLE = 2, 3, 6, 7, 8
DATE, TIME, TIMESTAMP = 91, 92, 93
CHAR, VARCHAR, LONGVARCHAR, WCHAR, WVARCHAR, WLONGVARCHAR = 1, 12, -1, -8, -9, -10
BINARY, VARBINARY, LONGVARBINARY = -2, -3, -4
GUID = -11
# Those of SQL Server.
SS_XML, SS_TIME2, SS_TIMESTAMPOFFSET = -152, -154, -155

DECIMALS = (NUMERIC, DECIMAL)
TEXTS = (CHAR, VARCHAR, LONGVARCHAR, WCHAR, WVARCHAR, WLONGVARCHAR)
BINARIES = (BINARY, VARBINARY, LONGVARBINARY)

# Fields of SQLColAttribute.
_CONCISE_TYPE, _UNSIGNED, _TYPE_NAME = 2, 8, 14
_SUCCESS = (0, 1)  # SQL_SUCCESS, SQL_SUCCESS_WITH_INFO
_NAME_BYTES = 512

_INTEGER_DIGITS = {3: TINYINT, 5: SMALLINT, 10: INTEGER}
_REAL_DIGITS = (7, 9)  # decimal digits, as MariaDB and PostgreSQL count them
_OF_PYTHON_TYPE = {
    bool: BIT,
    bytearray: VARBINARY,
    bytes: VARBINARY,
    dt.date: DATE,
    dt.datetime: TIMESTAMP,
    dt.time: TIME,
    Decimal: DECIMAL,
    str: WVARCHAR,
}


@dataclass(frozen=True, slots=True)
class OdbcType:
    """What an ODBC driver says about a column.

    :ivar code: number of the type; 0 if it is not known.
    :ivar size: number of its digits, characters or bytes.
    :ivar places: number of its decimal places, also of seconds.
    :ivar name: as the database calls the type, in lower case; empty if it is not known.
    """

    code: int
    size: int = 0
    places: int = 0
    is_unsigned: bool = False
    name: str = ""


def types_of(cursor: Any) -> list[OdbcType]:
    """Return the types of the columns of a statement that was executed."""
    handle = getattr(cursor, "hstmt", None)
    if handle is None:
        return [_from_description(column) for column in cursor.description]
    return [_from_handle(handle, number, column) for number, column in enumerate(cursor.description, 1)]


def _from_description(column: Sequence[Any]) -> OdbcType:
    python_type, size, places = column[1], column[3] or 0, column[5] or 0
    if python_type is int:
        code = _INTEGER_DIGITS.get(size, BIGINT)
        return OdbcType(code, size, places, is_unsigned=code != BIGINT)  # so that all values fit, if it is unsigned
    if python_type is float:
        return OdbcType(REAL if size in _REAL_DIGITS else DOUBLE, size)
    if python_type is str and places > 0:  # a text has no decimal places
        return OdbcType(SS_TIMESTAMPOFFSET, size, places)
    return OdbcType(_OF_PYTHON_TYPE.get(python_type, 0), size, places)


def _from_handle(handle: ctypes.c_void_p, number: int, column: Sequence[Any]) -> OdbcType:
    attribute = partial(_attribute, handle, number)
    return OdbcType(
        code=attribute(_CONCISE_TYPE)[0],
        size=column[3] or 0,
        places=column[5] or 0,
        is_unsigned=attribute(_UNSIGNED)[0] != 0,
        name=attribute(_TYPE_NAME)[1].lower(),
    )


def _attribute(handle: ctypes.c_void_p, number: int, field: int) -> tuple[int, str]:
    """Return an attribute of a column, as a number and as a text; 0 and nothing if the ODBC driver does not have it."""
    text = ctypes.create_string_buffer(_NAME_BYTES)
    length, value = ctypes.c_short(), ctypes.c_ssize_t()
    outputs = text, ctypes.c_short(_NAME_BYTES), ctypes.byref(length), ctypes.byref(value)
    if _col_attribute()(handle, ctypes.c_ushort(number), ctypes.c_ushort(field), *outputs) not in _SUCCESS:
        return 0, ""
    return value.value, text.raw[: max(0, length.value)].decode("utf-16", "replace")


@cache
def _col_attribute() -> Callable[..., int]:
    """Return `SQLColAttributeW` of the driver manager that pyodbc uses: it is found through pyodbc's own library."""
    library: Any = ctypes.CDLL(importlib.import_module("pyodbc").__file__)
    if sys.platform == "win32":
        library = ctypes.WinDLL("odbc32")
    function: Callable[..., int] = library.SQLColAttributeW
    function.restype = ctypes.c_short  # type: ignore[attr-defined]
    return function
