"""Defines the models, from waveforms to embeddings; the only package that uses flax.linen."""
