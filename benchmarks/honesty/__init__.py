"""Checks of the verdicts: how often each is wrong where there is no effect, and how often it finds one that is there.

`python -m benchmarks.honesty [--only NAME ...] [--sets N] [--into FOLDER] [--json FILE]`. It resumes where it was cut
off, as every set is written down when it is done, and repeats a part when the code that it judges has changed.
"""
