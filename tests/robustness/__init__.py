"""Two programs that try to break real servers: `make chaos` causes faults, `make fuzz` sends broken HTTP.

`tests/system/test_chaos.py` and `test_fuzz.py` run both for a short time.
"""
