"""Whether verdicts hold what they say: how often each is wrong where nothing is there, and how often it finds what is.

`python -m benchmarks.honesty [--only NAME ...] [--sets N] [--into FOLDER] [--json FILE]`. It goes on where it was cut
off, as every set is written down when it is done, and a part is repeated when the code that it judges has changed.
"""
