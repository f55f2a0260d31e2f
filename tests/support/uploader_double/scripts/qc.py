"""The quality check of a double of gn-uploader: a Pool over files, each pushing to keys of its own."""

import json
import multiprocessing
import sys
import time
from pathlib import Path

import redis


def check_file(url: str, job_key: str, section: str, path: str, seconds: float) -> int:
    """Check one file; return the number of its errors."""
    client = redis.Redis.from_url(url, protocol=2)
    name = Path(path).name
    errors_key, logs_key, metadata_key = (
        f"{job_key}:{section}:{kind}:{name}" for kind in ("errors", "logs", "metadata")
    )
    lines = Path(path).read_text().split("\n")[:-1]
    client.hset(
        metadata_key, mapping={"status": "checking", "linecount": len(lines), "checked": 0, "total-errors": 0}
    )
    header = lines[0].split("\t")
    errors = 0
    for count, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        for title, cell in zip(header[1:], cells[1:], strict=True):
            if cell.replace(".", "", 1).isdigit():
                continue
            errors += 1
            fault = {"filename": name, "rowtitle": cells[0], "coltitle": title, "cellvalue": cell}
            client.rpush(errors_key, json.dumps(fault | {"message": f"Invalid value '{cell}'"}))
        client.hset(metadata_key, mapping={"checked": count, "total-errors": errors})
        if count == len(lines) // 2:
            client.rpush(logs_key, f"2024-10-23 13:29:00 INFO: half of {name}")
            time.sleep(seconds)
    client.rpush(logs_key, f"2024-10-23 13:29:01 INFO: checked {name}")
    client.hset(metadata_key, mapping={"status": "success", "checked": len(lines)})
    return errors


def main() -> int:
    """Check all files of a job in a pool of processes."""
    url, prefix, job_id, arguments = sys.argv[1:5]
    given = json.loads(arguments)
    work = [
        (url, f"{prefix}:{job_id}", "pheno" if "pheno" in path else "geno", path, given["seconds"])
        for path in given["files"]
    ]
    with multiprocessing.Pool(len(work)) as pool:
        print(f"checking {len(work)} files", flush=True)
        errors = sum(pool.starmap(check_file, work))
    print(f"found {errors} errors", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
