"""What a run is made of: its recordings, encoder, workdir, shards and report; commands call it."""
