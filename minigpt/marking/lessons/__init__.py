"""The exercises of the lessons, one lesson a file. Answers are written with PyTorch; minigpt itself is the reference."""
