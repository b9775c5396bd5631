"""Converts public EAT checkpoints to our weight files and back, without fairseq or torch."""
