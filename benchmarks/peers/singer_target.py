"""Load messages into Postgres with meltanolabs-target-postgres; prints the CPU it took as JSON.

Runs in an environment of its own: python singer_target.py LINES URL. LINES are Singer messages, made beforehand.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path


def main(lines_file: str, url: str) -> None:
    from target_postgres.target import TargetPostgres  # type: ignore[import-not-found]  # the other environment

    config = {
        "sqlalchemy_url": url.replace("postgresql://", "postgresql+psycopg://", 1),
        "default_target_schema": "singer_mail",
    }
    began = time.process_time()
    with (
        Path(lines_file).open(encoding="utf-8") as lines,
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        TargetPostgres(config=config).listen(lines)
    print(json.dumps({"cpu": time.process_time() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:])
