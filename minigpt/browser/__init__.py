"""What runs in a browser: each JavaScript file computes what the Python file of its name does, and a test compares."""
