"""Widgets that draw what they are given: tables, lines, outputs, the field for a filter. They never ask Redis.

Screens import them.
"""
