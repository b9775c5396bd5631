"""Implements the runs behind the commands: data, encoder, workdir, shards, scores and report."""
