"""Outputs as a person reads them: lines made ready for drawing, the position in them, searching and saving.

Screens and widgets import it; it draws nothing itself.
"""
