"""Computes normalised log filter banks with SimAM attention and augmentation from waveforms."""
