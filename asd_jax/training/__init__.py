"""Implements fine-tuning and pre-training: steps, optimiser, checkpoints and weight files."""
