"""A suite of small images for any reader of VHDX: `python -m conformance.build OUT`, then `run.py` beside this."""
