"""One module for each screen or dialog, beside them what screens share and the text that they show.

Only the app and the demo may import it. A screen reaches the app as a `Dashboard` and never imports it.
"""
