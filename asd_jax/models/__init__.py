"""From waveforms to embeddings (flax.linen; nowhere else)."""
