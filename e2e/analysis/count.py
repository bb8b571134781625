"""Counts the records of an export by kind and outcome with DuckDB, pyarrow and pyiceberg, each by itself, and prints the counts
and the seconds of each as JSON.

Usage: count.py FOLDER.
"""

import collections
import json
import os
import sys
import tempfile
import time

import duckdb
import pyarrow.dataset
import pyarrow.parquet
from pyiceberg.catalog.sql import SqlCatalog

place = os.path.abspath(sys.argv[1])
COLUMNS = ["kind", "outcome"]


def counts(table):
    columns = [table.column(name).to_pylist() for name in COLUMNS]
    return [[*key, number] for key, number in collections.Counter(zip(*columns)).items()]


def with_duckdb():
    glob = os.path.join(place, "date=*/replica=*/*.parquet").replace("'", "''")
    connection = duckdb.connect()
    rows = connection.execute(
        f"SELECT kind, outcome, count(*) FROM read_parquet('{glob}', hive_partitioning = true) GROUP BY ALL"
    )
    return [list(row) for row in rows.fetchall()]


def with_pyarrow():
    return counts(pyarrow.dataset.dataset(files, format="parquet").to_table(columns=COLUMNS))


def with_pyiceberg():
    with tempfile.TemporaryDirectory() as folder:
        catalog = SqlCatalog("count", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
        catalog.create_namespace("countersign")
        schema = pyarrow.parquet.read_schema(files[0])
        iceberg = catalog.create_table("countersign.decisions", schema=schema)
        iceberg.add_files(["file://" + path for path in files])
        return counts(iceberg.scan(selected_fields=tuple(COLUMNS)).to_arrow())


files = sorted(
    os.path.join(folder, name)
    for folder, _, names in os.walk(place)
    for name in names
    if name.endswith(".parquet")
)
found = {}
for name, read in [("DuckDB", with_duckdb), ("pyarrow", with_pyarrow), ("pyiceberg", with_pyiceberg)]:
    begin = time.monotonic()
    rows = read()
    found[name] = {"rows": rows, "seconds": time.monotonic() - begin}
json.dump(found, sys.stdout)
