"""All jobs of a server, kept up to date: the watcher tells changes, the catalogue lists, filters and sorts them.

Imported by the dashboard; the catalogue itself is plain data without Redis.
"""
