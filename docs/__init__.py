"""Documentation, and the scripts that write the parts which must agree with the code."""
