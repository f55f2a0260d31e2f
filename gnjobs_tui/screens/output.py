"""One output, of a job or of a child: read around what is seen, followed, searched, saved."""

import time
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from gnjobs.changes import Change
from gnjobs.lines import Hole
from gnjobs_tui.footers import footer
from gnjobs_tui.kill_targets import Target
from gnjobs_tui.output_state import OutputState, state_parts
from gnjobs_tui.output_words import Place, count_text, place_line
from gnjobs_tui.outputs.follower import News, OutputFollower
from gnjobs_tui.outputs.pager import Need
from gnjobs_tui.outputs.portions import read_need
from gnjobs_tui.outputs.saving import file_name, save_directory, save_output
from gnjobs_tui.outputs.searching import Progress, Query, search
from gnjobs_tui.outputs.seen import Item, hole_words
from gnjobs_tui.outputs.source import OutputSource
from gnjobs_tui.screens.base import WatchScreen
from gnjobs_tui.styling import GLYPHS, Cell, Part, content
from gnjobs_tui.widgets.line import Line
from gnjobs_tui.widgets.output_view import OutputView
