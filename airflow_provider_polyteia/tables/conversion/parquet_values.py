"""Values of a Parquet file that DuckDB, or JSON, would change: they are rewritten, reported or rejected."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_polyteia.tables.conversion.number_style import MAX_DIGITS
from airflow_provider_polyteia.tables.file_checks.errors import Reject
from airflow_provider_polyteia.tables.staging import ROW_GROUP_ROWS
from airflow_provider_polyteia.tables.temporary import open_temporary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_polyteia.tables.conversion.staged_file import StagedFile

_CHECKED_ROWS = 2_048  # at a time: few enough for long lists


def has_wide_decimals(schema: pa.Schema) -> bool:
    """Return True if there are decimals that DuckDB does not have; it reads other numbers instead of them."""
    return any(pa.types.is_decimal256(leaf) for field in schema for leaf in _leaf_types(field.type))


def too_wide() -> Reject:
    """Return the exception for decimals that do not fit."""
    return Reject(f"Parquet with decimals of more than {MAX_DIGITS} digits", "Round them.")


def with_narrow_decimals(file: StagedFile) -> IO[bytes]:
    """Return the file with decimals of at most `MAX_DIGITS` digits.

    :raises Reject: if a value has more.
    """
    narrow = open_temporary(file.temp_dir)
    try:
        with file.open() as opened:
            parquet = pq.ParquetFile(opened)
            schema = pa.schema([field.with_type(_narrow(field.type)) for field in parquet.schema_arrow])
            with pq.ParquetWriter(narrow, schema) as writer:
                for batch in parquet.iter_batches(ROW_GROUP_ROWS):
                    columns = [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]
                    writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
        narrow.flush()
    except pa.ArrowInvalid:
        narrow.close()
        raise too_wide() from None
    except OSError as error:  # of a damaged file
        narrow.close()
        raise Reject("Parquet that cannot be read") from error
    except BaseException:
        narrow.close()
        raise
    return narrow


def _narrow(arrow_type: pa.DataType) -> pa.DataType:
    if pa.types.is_decimal256(arrow_type):
        return pa.decimal128(MAX_DIGITS, min(arrow_type.scale, MAX_DIGITS))
    if pa.types.is_struct(arrow_type):
        return pa.struct([field.with_type(_narrow(field.type)) for field in arrow_type])
    if pa.types.is_map(arrow_type):
        return pa.map_(_narrow(arrow_type.key_type), _narrow(arrow_type.item_type))
    if not arrow_type.num_fields:
        return arrow_type
    item = arrow_type.value_field.with_type(_narrow(arrow_type.value_type))
    if pa.types.is_fixed_size_list(arrow_type):
        return pa.list_(item, arrow_type.list_size)
    return pa.large_list(item) if pa.types.is_large_list(arrow_type) else pa.list_(item)


def check_values(parquet: pq.ParquetFile) -> frozenset[str]:
    """Return the columns whose values lose parts of a microsecond, after checking that none changes in another way.

    Only columns of types for which that is possible are read.

    :raises Reject: if a value would be changed, or the file is damaged.
    """
    for field in parquet.schema_arrow:
        if any(pa.types.is_duration(leaf) for leaf in _leaf_types(field.type)):
            raise Reject(
                f"Parquet with durations in the column {field.name!r}, for which tables have no type",
                "Write them as numbers or text.",
            )
    suspects = {field.name for field in parquet.schema_arrow if _is_suspect(field.type)}
    truncated: set[str] = set()
    if not suspects:
        return frozenset()
    try:
        for batch in parquet.iter_batches(_CHECKED_ROWS, columns=sorted(suspects)):
            for field, column in zip(batch.schema, batch.columns, strict=True):
                _check_numbers(field, column)
                if field.name not in truncated and _has_nanoseconds(column):
                    truncated.add(field.name)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the storage; Arrow's own have no number
            raise
        raise Reject("Parquet that cannot be read") from None  # its text may contain values
    return frozenset(truncated)


def _is_suspect(arrow_type: pa.DataType) -> bool:
    is_nested = bool(arrow_type.num_fields)
    return any(
        _loses_nanoseconds(leaf) or (is_nested and pa.types.is_floating(leaf)) for leaf in _leaf_types(arrow_type)
    )


def _loses_nanoseconds(leaf: pa.DataType) -> bool:
    """Return True for types that DuckDB has in microseconds only. Timestamps without time zone have nanoseconds."""
    is_fine = pa.types.is_time64(leaf) or (pa.types.is_timestamp(leaf) and leaf.tz is not None)
    return is_fine and leaf.unit == "ns"


def _check_numbers(field: pa.Field, column: pa.Array) -> None:
    if field.type.num_fields and not all(_is_finite(leaf) for leaf in _leaves(column)):
        raise Reject(
            f"Parquet with NaN or infinity in the nested column {field.name!r}, which becomes JSON, where numbers are "
            "finite",
            "Write null instead.",
        )


def _has_nanoseconds(column: pa.Array) -> bool:
    for leaf in _leaves(column):
        if _loses_nanoseconds(leaf.type):
            nanoseconds = leaf.cast(pa.int64())
            whole = pc.multiply(pc.divide(nanoseconds, 1000), 1000)
            if pc.any(pc.not_equal(nanoseconds, whole)).as_py():
                return True
    return False


def _is_finite(leaf: pa.Array) -> bool:
    if not pa.types.is_floating(leaf.type):
        return True
    numbers = leaf.cast(pa.float32()) if pa.types.is_float16(leaf.type) else leaf
    return pc.all(pc.is_finite(numbers)).as_py() is not False


def _leaf_types(arrow_type: pa.DataType) -> Iterator[pa.DataType]:
    if isinstance(arrow_type, pa.BaseExtensionType):
        arrow_type = arrow_type.storage_type
    if not arrow_type.num_fields:
        yield arrow_type
    for index in range(arrow_type.num_fields):
        yield from _leaf_types(arrow_type.field(index).type)


def _leaves(column: pa.Array) -> Iterator[pa.Array]:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_map(column.type):
        parts = [column.keys, column.items]
    elif pa.types.is_struct(column.type):
        parts = column.flatten()
    elif column.type.num_fields:
        parts = [column.flatten()]
    else:
        yield column
        return
    for part in parts:
        yield from _leaves(part)
