"""Writes a table to Parquet with the types of its values.

The types of text columns are chosen by a sample first. If the writing finds a value that does not fit, the whole table
is profiled, and written again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

import duckdb

from airflow_provider_polyteia.exceptions import PolyteiaConfigurationError, PolyteiaDataError
from airflow_provider_polyteia.tables.conversion import profile
from airflow_provider_polyteia.tables.conversion.inference import Choice, Column, choose
from airflow_provider_polyteia.tables.conversion.kinds import describe
from airflow_provider_polyteia.tables.conversion.table import (
    DECLARABLE,
    NULL,
    TEXT,
    Table,
    checked_cast,
    fits_cast,
    from_arrow,
    is_declarable,
    is_wider,
    keeps_value,
    portable,
)
from airflow_provider_polyteia.tables.conversion.value_notations import AS_TEXT
from airflow_provider_polyteia.tables.file_checks.errors import NOTHING_SENT
from airflow_provider_polyteia.tables.sql_parts import literal, quoted, trimmed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_polyteia.tables.conversion.options import Options
    from airflow_provider_polyteia.tables.engine import Engine
    from airflow_provider_polyteia.tables.staging import StagedTable

log = logging.getLogger(__name__)

# Of the sample: enough rows to choose types that hold for most files, in a time that does not depend on the columns.
_SAMPLE_VALUES, _MIN_SAMPLE_ROWS = 100_000, 100


@dataclass(frozen=True)
class Writer:
    """Writes a table to Parquet.

    :param name: of the file, for messages.
    :param previous: name -> type of each column at the last load, as Arrow names types.
    :param place: returns where the row with a number, from 1, is in the file, such as "line 5".
    """

    engine: Engine
    table: Table
    options: Options
    name: str
    previous: Mapping[str, str]
    place: Callable[[int], str]

    def write(self) -> StagedTable:
        """Return the table as a temporary Parquet file.

        :raises PolyteiaDataError: if a value does not fit the declared type of its column.
        :raises duckdb.Error: if the rows cannot be read.
        """
        self._check_formats()
        columns = self._text_columns()
        if not columns:
            return self._copy_or_explain({}, set(), {})
        rows = max(_SAMPLE_VALUES // len(columns), _MIN_SAMPLE_ROWS)
        sample = self._profile(f"(SELECT * FROM {self.table.relation} LIMIT {rows})", columns)
        choices = choose(columns, sample)
        if all(choice.notation and not choice.is_ambiguous for choice in choices.values()):
            try:
                staged = self._copy(choices, self._without_values(sample))
            except duckdb.OutOfMemoryException:
                raise
            except duckdb.Error:
                log.info("Later rows of %r do not fit the types of the first ones; reading all rows again", self.name)
            else:
                self._report_decisions(choices)
                return staged
        columns = {
            name: replace(column, candidates=column.candidates.remaining(sample[name]))
            for name, column in columns.items()
        }
        undecided = {name: column for name, column in columns.items() if column.candidates or not sample[name].values}
        whole = sample | self._profile(self.table.relation, undecided)
        choices = choose(columns, whole)
        self._report(columns, choices)
        return self._copy_or_explain(choices, self._without_values(whole), columns)

    def _check_formats(self) -> None:
        formats = self.options.formats
        for option, wanted in (("dateformat", formats.dateformat), ("timestampformat", formats.timestampformat)):
            try:
                self.engine.first(f"SELECT try_strptime('', {literal(wanted or '%Y')})")
            except duckdb.Error:
                raise PolyteiaConfigurationError(
                    f"The option {option!r} of the argument 'convert' is {wanted!r}, which DuckDB does not know. Use a "
                    "format such as %d.%m.%Y."
                ) from None

    def _copy_or_explain(
        self, choices: Mapping[str, Choice], left_out: set[str], columns: Mapping[str, Column]
    ) -> StagedTable:
        """Write the table, or raise an exception that says which value does not fit.

        It is not raised from DuckDB's own, which may contain values.
        """
        try:
            return self._copy(choices, left_out)
        except duckdb.Error as error:
            failed = error
        for column in columns.values():
            self._raise_for_unfit(column)
        self._raise_for_unfit_casts()
        raise failed

    def _text_columns(self) -> dict[str, Column]:
        declared = self._declared()
        formats = self.options.formats
        columns: dict[str, Column] = {}
        for name in self._texts():
            sql_type, previous = declared.get(name, ""), from_arrow(self.previous.get(name, ""))
            if sql_type:
                candidates = profile.declared(sql_type, formats)
            elif previous == TEXT:
                candidates = profile.Candidates((), ())
            else:
                candidates = profile.ISO_DATES if self.table.is_json else profile.undeclared(formats)
            columns[name] = Column(name, candidates, sql_type, "" if sql_type else previous)
        return columns

    def _texts(self) -> list[str]:
        """Return the columns whose values are written as text, whether their type is inferred or declared."""
        declared = [name for name in self._declared() if self.table.columns[name] == TEXT]
        return list(dict.fromkeys([*self.table.texts, *declared]))

    def _declared(self) -> dict[str, str]:
        """Return the declared types as DuckDB writes them."""
        unknown = [name for name in self.options.columns if name not in self.table.columns]
        if unknown:
            # Not all of its columns: without a header, they would be the values of the first row.
            similar = get_close_matches(unknown[0], self.table.columns)
            advice = f" Did you mean {' or '.join(map(repr, similar))}?" if similar else ""
            raise PolyteiaDataError(
                f"{self.name!r} has no column {unknown[0]!r}, which 'columns' in the argument 'convert' declares; it "
                f"has {len(self.table.columns)} columns.{advice} {NOTHING_SENT}",
                not_applied=True,
            )
        return {name: self._canonical_type(name, sql_type) for name, sql_type in self.options.columns.items()}

    def _canonical_type(self, name: str, sql_type: str) -> str:
        try:
            canonical = self.engine.canonical_type(sql_type)
        except duckdb.Error:
            canonical = ""
        if not is_declarable(canonical):
            raise PolyteiaConfigurationError(
                f"The option 'columns' of the argument 'convert' gives {name!r} the type {sql_type!r}, which "
                f"{'cannot be declared' if canonical else 'DuckDB does not know'}. Use one of {DECLARABLE}."
            )
        return canonical

    def _profile(self, relation: str, columns: Mapping[str, Column]) -> dict[str, profile.Profile]:
        candidates = {name: column.candidates for name, column in columns.items()}
        return profile.profile_columns(self.engine.rows, relation, candidates)

    def _without_values(self, profiles: Mapping[str, profile.Profile]) -> set[str]:
        return {name for name in self.table.unnamed if not profiles[name].values}

    def _copy(self, choices: Mapping[str, Choice], left_out: set[str]) -> StagedTable:
        expressions = [f"{sql} AS {quoted(name)}" for name, sql in self._expressions(choices) if name not in left_out]
        blank = [f"CASE WHEN {trimmed(quoted(name))} <> '' THEN error('unfit') ELSE true END" for name in left_out]
        where = f" WHERE {' AND '.join(blank)}" if blank else ""
        query = f"SELECT {', '.join(expressions)} FROM {self.table.relation}{where}"
        return self.engine.copy_to_parquet(query, len(expressions))

    def _expressions(self, choices: Mapping[str, Choice]) -> Iterator[tuple[str, str]]:
        declared, kept = self._declared(), self._kept(choices)
        for name, sql_type in self.table.columns.items():
            if name in choices:
                yield name, (choices[name].notation or AS_TEXT).value(name)
                continue
            sql, target = portable(name, sql_type)
            if name in declared:
                sql = checked_cast(sql, target, declared[name])
            elif name in kept:
                sql = f"CAST({sql} AS {kept[name]})"
            yield name, sql

    def _kept(self, choices: Mapping[str, Choice]) -> dict[str, str]:
        """Return the types of the last load for columns that have a type of their own, if they hold all values."""
        declared = self._declared()
        possible: dict[str, tuple[str, str, str]] = {}
        for name, sql_type in self.table.columns.items():
            sql, target = portable(name, sql_type)
            wanted = from_arrow(self.previous.get(name, ""))
            is_possible = is_wider(wanted, target) or (wanted and sql_type == NULL)
            if name not in choices and name not in declared and is_possible:
                possible[name] = (sql, target, wanted)
        if not possible:
            return {}
        unfit = (f"count(*) FILTER (WHERE NOT ({keeps_value(*column)}))" for column in possible.values())
        counts = self.engine.first(f"SELECT {', '.join(unfit)} FROM {self.table.relation}")
        return {name: possible[name][2] for name, count in zip(possible, counts, strict=True) if not count}

    def _report(self, columns: Mapping[str, Column], choices: Mapping[str, Choice]) -> None:
        """Raise an exception for values that do not fit, and log which columns are ambiguous."""
        for name, choice in choices.items():
            if choice.is_ambiguous and columns[name].declared:
                raise self._ambiguous(name)
            if choice.is_ambiguous:
                log.warning(
                    "Column %r of %r is loaded as text, because its numbers are ambiguous: in a number such as 1.234, "
                    "the point may separate decimals or thousands. Set 'decimal_separator' in the argument 'convert'.",
                    name,
                    self.name,
                )
            if choice.notation is None:
                self._raise_for_unfit(columns[name])
                raise self._unfit(columns[name], "several lines", "a mixture of notations")
        self._report_decisions(choices)

    def _report_decisions(self, choices: Mapping[str, Choice]) -> None:
        """Log in which columns other columns decided what the numbers mean: it may be wrong."""
        for name, choice in choices.items():
            if choice.decided_by:
                log.warning(
                    "The numbers in column %r of %r are read with the decimal separator of column %r, because they "
                    "are ambiguous. Set 'decimal_separator' in the argument 'convert' to be sure.",
                    name,
                    self.name,
                    choice.decided_by,
                )

    def _ambiguous(self, name: str) -> PolyteiaDataError:
        return PolyteiaDataError(
            f"The numbers in column {name!r} of {self.name!r} are ambiguous, because their decimal separator may be a "
            f"point or a comma. Set 'decimal_separator' in the argument 'convert'. {NOTHING_SENT}",
            not_applied=True,
        )

    def _raise_for_unfit(self, column: Column) -> None:
        """Raise an exception for the first value that does not fit the declared type of its column."""
        name, sql_type = column.name, column.declared
        if sql_type in ("", TEXT):
            return
        notations = profile.notations_of(sql_type, profile.declared(sql_type, self.options.formats))
        unfit = " AND ".join(f"({notation.is_unfit('value')})" for notation in notations)
        numbered = f"(SELECT row_number() OVER () AS number, {quoted(name)} AS value FROM {self.table.relation})"
        row = self.engine.first(f"SELECT number, value FROM {numbered} WHERE {unfit} ORDER BY number LIMIT 1")
        if row:
            raise self._unfit(column, self.place(row[0]), describe(row[1]))

    def _raise_for_unfit_casts(self) -> None:
        """Raise an exception for the first value of a column with a type of its own that does not fit another one."""
        for name, wanted in self._declared().items():
            if name in self._texts():
                continue
            sql, target = portable(name, self.table.columns[name])
            unfit = f"({sql}) IS NOT NULL AND NOT {fits_cast(sql, target, wanted)}"
            numbered = f"(SELECT row_number() OVER () AS number, {unfit} AS is_unfit FROM {self.table.relation})"
            row = self.engine.first(f"SELECT min(number) FROM {numbered} WHERE is_unfit")
            if row[0]:
                raise self._unfit(Column(name, profile.Candidates((), ()), wanted), self.place(row[0]), "a value")

    def _unfit(self, column: Column, where: str, kind: str) -> PolyteiaDataError:
        return PolyteiaDataError(
            f"{self.name!r}, {where}, column {column.name!r}: {kind} does not fit the type {column.declared}, which "
            f"'columns' in the argument 'convert' declares. {NOTHING_SENT}",
            not_applied=True,
        )
