"""Turns a folder of recordings into batches of waveforms."""
