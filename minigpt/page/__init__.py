"""The tools for making the pages: sources beside their comments, figures, checks of shapes and numbers."""
