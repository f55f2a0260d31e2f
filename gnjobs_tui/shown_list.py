"""What a screen lists: group, filter, order, and the listing that follows them."""

import time
from collections.abc import Collection

import msgspec

from gnjobs.health.states import ALL
from gnjobs.watch.catalogue import Catalogue
from gnjobs.watch.filters import Filter
from gnjobs.watch.listing import DEFAULT_SORT, Listing, Sort

# A list that is collected sooner than this replaces the one before it whole, so that the cursor finds its row.
PATIENCE = 0.15


class Choice(msgspec.Struct, frozen=True):
    """Which jobs are listed, and in which order."""

    group: str = ALL
    filter: Filter | None = None
    sort: Sort = DEFAULT_SORT


class ShownList:
    """Keeps the listing that is shown until the one that was chosen last can take its place."""

    def __init__(self, catalogue: Catalogue, users: Collection[str] | None) -> None:
        self._catalogue = catalogue
        self._users = users
        self._following: Listing | None = None
        self._chosen_at = 0.0
        self.choice = Choice()
        self.current = self._open()

    def _open(self) -> Listing:
        choice = self.choice
        return self._catalogue.listing(
            filter=choice.filter, group=choice.group, users=self._users, sort=choice.sort
        )

    def choose(self, choice: Choice) -> None:
        """List something else as soon as it is collected; the catalogue's `work` does that."""
        if choice == self.choice:
            return
        if self._following is not None:
            self._catalogue.close(self._following)
        self.choice, self._chosen_at = choice, time.monotonic()
        self._following = self._open()

    def take(self) -> Listing:
        """The listing to show now."""
        following = self._following
        # In the default order a list is right from its top while it is collected; in another one only at the end.
        is_late = self.choice.sort == DEFAULT_SORT and time.monotonic() - self._chosen_at > PATIENCE
        if following is not None and (following.ready or is_late):
            self._catalogue.close(self.current)
            self.current, self._following = following, None
        return self.current

    def close(self) -> None:
        """Keep no list right any more."""
        for listing in (self.current, self._following):
            if listing is not None:
                self._catalogue.close(listing)
