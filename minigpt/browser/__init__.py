"""The code that runs in a browser: each JavaScript file computes the same as the Python file of its name (tested).

Two have none: the worker, and simd.js, the products of matrices, which Python has from PyTorch.
"""
