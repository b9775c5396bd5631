"""From waveforms to normalised, attended and augmented log filter banks."""
