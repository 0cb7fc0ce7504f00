"""The code that runs in a browser: each JavaScript file computes the same as the Python file of its name (tested)."""
