"""One module for each screen or dialog, what they share, and what they put into rows and lines.

Only the app and the demo may import it. A screen finds the app behind it as a `Dashboard`, never by importing it.
"""
