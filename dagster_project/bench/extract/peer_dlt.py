"""A dlt pipeline as its documentation builds one: REST source, incremental `created`, Parquet files; for some seconds.

Runs by itself, also in an interpreter that has dlt and nothing of Ledgerline: base URL, path, seconds, folder.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator
from dlt.sources.rest_api import rest_api_resources


def main(base_url: str, path: str, seconds: float, folder: Path) -> dict[str, object]:
    name = path.rsplit("/", 1)[1]
    (resource,) = rest_api_resources(
        {
            "client": {
                "base_url": base_url,
                "auth": {"type": "bearer", "token": "sk_live_benchmark"},
                "paginator": JSONResponseCursorPaginator(
                    cursor_path="data[-1].id", cursor_param="starting_after", has_more_path="has_more"
                ),
            },
            "resources": [
                {
                    "name": name,
                    "primary_key": "id",
                    "write_disposition": "append",
                    "endpoint": {
                        "path": path,
                        "params": {"limit": 100},
                        "data_selector": "data",
                        "incremental": {"cursor_path": "created", "start_param": "created[gte]", "initial_value": 0},
                    },
                }
            ],
        }
    )
    pipeline = dlt.pipeline(
        "ledgerline_bench",
        pipelines_dir=str(folder / "pipelines"),
        destination=dlt.destinations.filesystem(bucket_url=(folder / "parquet").as_uri()),
        dataset_name="stripe",
    )
    began = time.monotonic()
    pipeline.run(resource.add_limit(max_time=seconds), loader_file_format="parquet")
    took = time.monotonic() - began
    counts = pipeline.last_trace.last_normalize_info.row_counts
    return {
        "rows": counts[name],
        "seconds": took,
        "cpu_s": time.process_time(),
        "version": f"dlt {dlt.__version__}, extracting for {seconds:g} s, then normalising and writing",
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), Path(sys.argv[4]))))
