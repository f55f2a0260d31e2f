"""When something is to be looked at again: the earliest time of each key, in a heap that never grows beyond them."""

import heapq


class DueTimes:
    """Times by key; each key is in the heap about once, since a later time waits until the earlier one has come."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}
        self._queued: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: str, due: float | None) -> None:
        """Say when a key is due, or by None that it never is."""
        if due is None:
            self._due.pop(key, None)
            return
        self._due[key] = due
        if due < self._queued.get(key, float("inf")):
            self._queued[key] = due
            heapq.heappush(self._heap, (due, key))

    def next(self) -> float | None:
        """The time before which nothing is due, or None."""
        return self._heap[0][0] if self._heap else None

    def take(self, now: float, most: int) -> list[str]:
        """Take out at most so many keys that are due."""
        taken: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(taken) < most:
            queued, key = heapq.heappop(self._heap)
            if self._queued.get(key) != queued:
                continue
            del self._queued[key]
            due = self._due.get(key)
            if due is None:
                continue
            if due <= now:
                del self._due[key]
                taken.append(key)
            else:
                self.set(key, due)
        return taken
