"""The stress lab: load that tells the truth, on brokers it brings with it. Begin with `scenarios.py`, then `lab.py`."""
