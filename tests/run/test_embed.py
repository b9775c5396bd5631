"""Files beside the embeddings."""

import json

from any_json import ANY_JSON, PROPERTY
from hypothesis import given

from asd_jax.run.embed import SKIPPED, read_skipped
from asd_jax.runtime.errors import InputError


@PROPERTY
@given(content=ANY_JSON)
def test_a_list_of_skipped_clips_of_any_shape_is_one_or_refused(tmp_path, content):
    path = tmp_path / SKIPPED
    path.write_text(json.dumps(content))
    try:
        found = read_skipped(path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert (
            all({"file", "reason"} == set(clip) for clip in found) and found == content["skipped"]
        )
