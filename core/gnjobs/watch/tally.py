"""Numbers of jobs by group, for all and for each user, kept by adding and taking away."""

from collections import Counter
from collections.abc import Collection, Mapping

from gnjobs.health.groups import ALL, GROUPS, group_of
from gnjobs.watch.rows import JobRow

Counts = dict[str, int]


class Tally:
    """Counts of rows by group and by user; a job without a user is under the empty name."""

    def __init__(self) -> None:
        self._total: Counter[str] = Counter()
        self._by_user: dict[str, Counter[str]] = {}
        self._newest: dict[str, float] = {}

    def replace(self, old: JobRow | None, new: JobRow | None) -> None:
        """Count `new` in place of `old`."""
        if old is not None and new is not None and old.state == new.state and old.user == new.user:
            return
        if old is not None:
            self._add(old, -1)
        if new is not None:
            self._add(new, 1)

    def _add(self, row: JobRow, number: int) -> None:
        user, group = row.user or "", group_of(row.state)
        counts = self._by_user.get(user)
        if counts is None:
            counts = self._by_user[user] = Counter()
        for counted in (self._total, counts):
            counted[ALL] += number
            if group != ALL:
                counted[group] += number
        if number > 0:
            self._newest[user] = max(self._newest.get(user, 0.0), row.created)
        elif counts[ALL] <= 0:
            del self._by_user[user]
            self._newest.pop(user, None)

    def counts(self, users: Collection[str] | None = None) -> Counts:
        """The number of jobs in each group: of all, or of these users."""
        if users is None:
            return {group: self._total[group] for group in GROUPS}
        chosen = [self._by_user[user] for user in users if user in self._by_user]
        return {group: sum(counts[group] for counts in chosen) for group in GROUPS}

    def by_user(self) -> Mapping[str, Counts]:
        """The counts of every user."""
        return {user: {group: counts[group] for group in GROUPS} for user, counts in self._by_user.items()}

    def newest(self, user: str) -> float:
        """When the newest of a user's jobs known so far was created; 0 where that is unknown."""
        return self._newest.get(user, 0.0)
