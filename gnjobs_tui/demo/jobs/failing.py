"""A job that fails with a traceback."""

from gnjobs import current_job


def insert(species: dict[str, int], name: str) -> int:
    """Look up a species that is not there."""
    return species[name]


if __name__ == "__main__":
    with current_job() as job:
        job.message("looking up the species")
        insert({"mouse": 1, "rat": 2}, "axolotl")
