"""Reads an export with DuckDB, pyarrow and pyiceberg, and runs the questions of a page. Prints what was found as JSON.

Usage: read.py PLACE PAGE. PLACE is a folder or s3://BUCKET/PREFIX; then AWS_ENDPOINT_URL_S3 is a stand-in's.
"""

import json
import os
import re
import sys
import tempfile

import duckdb
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
from pyiceberg.catalog.sql import SqlCatalog

place, page = sys.argv[1], sys.argv[2]
endpoint = os.environ.get("AWS_ENDPOINT_URL_S3")
found = {}

# pyarrow
if place.startswith("s3://"):
    filesystem = pyarrow.fs.S3FileSystem(
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region=os.environ["AWS_REGION"],
        scheme="http",
        endpoint_override=endpoint.removeprefix("http://"),
    )
    root = place.removeprefix("s3://")
else:
    filesystem, root = pyarrow.fs.LocalFileSystem(), os.path.abspath(place)
selector = pyarrow.fs.FileSelector(root, recursive=True)
files = sorted(
    info.path for info in filesystem.get_file_info(selector) if info.path.endswith(".parquet")
)
found["files"] = len(files)
dataset = pyarrow.dataset.dataset(
    files,
    filesystem=filesystem,
    format="parquet",
    partition_base_dir=root,
    partitioning=pyarrow.dataset.partitioning(flavor="hive"),
)
table = dataset.to_table()
found["pyarrow"] = table.num_rows
found["sequences"] = sorted(table.column("sequence").to_pylist())
found["columns"] = dataset.schema.names
found["types"] = {name: str(dataset.schema.field(name).type) for name in ("time", "audiences", "bindings")}
found["records"] = {
    row["sequence"]: row["record"] for row in table.select(["sequence", "record"]).to_pylist()
}

# DuckDB, over the files themselves where it can be done without an extension, which would be fetched.
connection = duckdb.connect()
if place.startswith("s3://"):
    connection.register("decisions", table)
else:
    glob = os.path.join(place, "date=*/replica=*/*.parquet").replace("'", "''")
    connection.execute(
        f"CREATE VIEW decisions AS SELECT * FROM read_parquet('{glob}', hive_partitioning = true, union_by_name = true)"
    )
found["duckdb"] = connection.execute("SELECT count(*) FROM decisions").fetchone()[0]
found["kinds"] = dict(connection.execute("SELECT kind, count(*) FROM decisions GROUP BY kind").fetchall())
found["outcomes"] = dict(
    connection.execute("SELECT outcome, count(*) FROM decisions WHERE decision IS NOT NULL GROUP BY outcome").fetchall()
)
with open(page, encoding="utf-8") as text:
    questions = re.findall(r"```sql\n(.*?)```", text.read(), re.DOTALL)
found["questions"] = [
    {"columns": [column[0] for column in result.description], "rows": [list(map(str, row)) for row in result.fetchall()]}
    for result in (connection.execute(question) for question in questions)
]

# pyiceberg takes the files as they are.
with tempfile.TemporaryDirectory() as folder:
    properties = {"uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}"}
    if place.startswith("s3://"):
        properties |= {
            "s3.endpoint": endpoint,
            "s3.access-key-id": os.environ["AWS_ACCESS_KEY_ID"],
            "s3.secret-access-key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "s3.region": os.environ["AWS_REGION"],
        }
    catalog = SqlCatalog("test", **properties)
    catalog.create_namespace("countersign")
    columns = pyarrow.parquet.read_schema(files[0], filesystem=filesystem)
    iceberg = catalog.create_table("countersign.decisions", schema=columns)
    scheme = "s3://" if place.startswith("s3://") else "file://"
    iceberg.add_files([scheme + path for path in files])
    scanned = iceberg.scan().to_arrow()
    found["iceberg"] = scanned.num_rows
    found["iceberg_refused"] = iceberg.scan(row_filter="outcome == 'refused'").to_arrow().num_rows

json.dump(found, sys.stdout)
