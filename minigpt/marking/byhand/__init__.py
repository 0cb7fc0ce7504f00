"""Exercises in plain Python on lists, one a file. They are checked in the page, too, by the same lines."""
