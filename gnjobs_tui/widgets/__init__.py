"""Widgets that draw what they are given: tables, lines, outputs, the filter field. They never read Redis.

Only screens import them.
"""
