"""Reading an output as a person does: lines prepared for drawing, paging, following, searching and saving.

Screens and widgets import it. It draws nothing itself.
"""
