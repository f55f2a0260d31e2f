"""Gives a process of the demo the name of another host: Python imports this first where it stands on PYTHONPATH."""

import os
import socket

if "GNJOBS_DEMO_HOST" in os.environ:
    _name = os.environ["GNJOBS_DEMO_HOST"]
    socket.gethostname = lambda: _name
