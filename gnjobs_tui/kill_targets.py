"""What a kill is aimed at: a job, or one of its children."""

from typing import NamedTuple

from gnjobs.watch.rows import JobRow


class Target(NamedTuple):
    """One job or child, as the dialog names it; `child` is its id, None for the whole job."""

    prefix: str
    job_id: str
    label: str
    child: str | None = None
    child_label: str | None = None
    user: str | None = None
    host: str | None = None
    account: str | None = None
    percent: float | None = None
    silence: float | None = None

    @property
    def name(self) -> str:
        """What to call it."""
        return self.child_label or self.child or self.label


def target_of_row(row: JobRow, prefix: str) -> Target:
    """The job of a list's row."""
    return Target(
        prefix,
        row.id,
        row.label,
        user=row.user,
        host=row.host,
        account=row.job.account if row.job else None,
        percent=row.percent,
        silence=row.silence,
    )
