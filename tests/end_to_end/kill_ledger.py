"""What came of jobs under random kills: counts, with a line about everything that should not have happened."""

from collections import Counter

LATEST_END = 45.0


class KillLedger:
    """Counts what happened, and keeps a line about everything that should not have."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.jobs = self.supervisor_kills = self.wrong = self.late = self.left = self.lost_alive = 0
        self.delays: list[float] = []
        self.notes: list[str] = []

    @property
    def is_clean(self) -> bool:
        """Whether every job ended rightly, in time, and whole."""
        return not (self.wrong or self.late or self.left or self.lost_alive)

    def __str__(self) -> str:
        ordered = sorted(self.delays) or [0.0]
        delays = f"median {ordered[len(ordered) // 2]:.1f} s, longest {ordered[-1]:.1f} s"
        faults = {
            "wrong status": self.wrong,
            f"later than {LATEST_END:.0f} s": self.late,
            "processes left": self.left,
            "called lost while they ran": self.lost_alive,
        }
        return "\n".join(
            [
                f"{self.jobs} jobs, {self.supervisor_kills} supervisors killed; ended {dict(self.ends)}",
                f"kinds {dict(self.kinds)}",
                f"from the end of the last process to the final status: {delays}",
                ", ".join(f"{what}: {count}" for what, count in faults.items()),
                *self.notes,
            ]
        )
