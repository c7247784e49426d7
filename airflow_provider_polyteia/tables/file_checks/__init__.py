"""Checks of files that are uploaded as they are, in constant memory.

Theory of operation
-------------------
`check.check_file` is the entry point. It reads the beginning of the file first: `signatures` recognizes what it really
is, whatever its name says. Then the module of its format reads as much as it needs: `text` all of a CSV file,
`json_text` all of a JSON file, `workbook` and `parquet` only the parts that say whether a file is complete.

`ends` follows a file that is exported, and says whether it is complete.

A file that cannot be what it is sent as raises PolyteiaDataError, before anything is sent. What is only suspicious is
logged as a warning, because the platform may read it all the same.
"""
