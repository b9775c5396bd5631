"""Optimiser, checkpoints, weight files and logs."""
