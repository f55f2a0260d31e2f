"""What stands in Redis: key names, records and their fields, indexes, requests and events.

Everything above may import it; it knows no process, no output and no verdict.
"""
