"""What a screen or dialog is about: one job, or one of its children."""

from typing import NamedTuple

from gnjobs.records.fields import percent_done
from gnjobs.watch.rows import JobRow
from gnjobs_tui.style import GLYPHS, Part


class Target(NamedTuple):
    """One job or child, as dialogs and screens name it.

    `key` names the job's row in the catalogue; `child` is the child's id, None for the whole job.
    """

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
    state: str | None = None
    created: float | None = None
    key: str = ""

    @property
    def name(self) -> str:
        """What to call it."""
        return self.child_label or self.child or self.label

    @property
    def trail(self) -> list[Part]:
        """The job's name and the child's, for a title."""
        return [self.label, *([f" {GLYPHS.into} ", self.name] if self.child else [])]


def target_of_row(row: JobRow) -> Target:
    """The job of a list's row."""
    return Target(
        row.prefix,
        row.id,
        row.label,
        user=row.user,
        host=row.host,
        account=row.job.account if row.job else None,
        percent=percent_done(row),
        silence=row.silence,
        state=row.state,
        created=row.recorded,
        key=row.key,
    )


class LeftOut(NamedTuple):
    """A marked job that is not killed, and why."""

    target: Target
    why: str
