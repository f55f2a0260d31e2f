"""Verdicts on jobs and children: what counts as silent, stuck or dead, and the evidence for it.

Whoever shows or judges a job imports it; nothing here reads Redis.
"""
