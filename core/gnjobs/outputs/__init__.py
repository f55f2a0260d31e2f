"""Outputs as numbered lines: writing each line once through outages, and reading any line of any form.

One of the two rooms right above `records`; `runtime`, `supervisor`, `processing` and `watch` import it.
"""
