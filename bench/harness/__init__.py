"""What `run.py` is made of: preparing, starting, measuring, reporting."""
