"""Merge pages of messages into Postgres with dlt, as its own documentation does; prints the CPU it took as JSON.

Runs in an environment of its own: python dlt_merge.py PAGES URL FOLDER. Reading the pages is not charged.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main(pages_file: str, url: str, folder: str) -> None:
    os.environ.update(RUNTIME__DLTHUB_TELEMETRY="false", RUNTIME__LOG_LEVEL="WARNING")
    import dlt  # type: ignore[import-not-found]  # after its settings; lives in the other environment

    with Path(pages_file).open("rb") as file:
        pages = [json.loads(line) for line in file]

    @dlt.resource(name="messages", write_disposition="merge", primary_key="id")  # type: ignore[untyped-decorator]  # as above
    def messages() -> Iterator[list[dict[str, Any]]]:
        for page in pages:
            yield page["objects"]

    if ":" not in url.partition("://")[2].partition("@")[0]:
        url = url.replace("@", ":unused@", 1)  # it insists on a password, where the server asks for none
    began = time.process_time()
    pipeline = dlt.pipeline(
        "bench", destination=dlt.destinations.postgres(url), dataset_name="dlt_mail", pipelines_dir=folder
    )
    pipeline.run(messages())
    print(json.dumps({"cpu": time.process_time() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:])
