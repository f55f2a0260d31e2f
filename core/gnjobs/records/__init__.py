"""What stands in Redis: key names, records and their fields, indexes, requests and events.

The lowest room: everything above may import it, and it knows no process, no output and no verdict.
"""
