"""Outputs as numbered lines: writing each line once through outages, and reading any line of any form.

Stands on `records` alone. `runtime`, `supervisor`, `processing` and `watch` import it.
"""
