"""Measurements, side by side in one run, as ratios: machines differ and are noisy."""
