"""The tools that the pages are made with: sources beside their comments, figures, checks of shapes and numbers."""
