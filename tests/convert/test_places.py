import shutil

import pytest
from public_eat import CONFIG, equal
from safetensors.numpy import save_file

from asd_jax.runtime.errors import InputError
from convert.eat import convert as converted
from convert.eat import find

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_only_weight_file_of_a_folder_is_taken_and_one_of_several_is_asked_for(
    tmp_path, public, expected
):
    save_file(public, tmp_path / "eat_epoch30.safetensors")
    shutil.copy(CONFIG, tmp_path / "config.json")
    equal(converted(tmp_path), expected)
    save_file(public, tmp_path / "eat_epoch20.safetensors")
    with pytest.raises(InputError, match=r"eat_epoch20.*eat_epoch30.*name one of them"):
        converted(tmp_path)


def test_a_repository_in_the_hubs_cache_is_read_and_named_with_its_commit(
    tmp_path, public, expected
):
    cache = tmp_path / "models--worstchan--tiny"
    (cache / "blobs").mkdir(parents=True)
    shutil.copy(CONFIG, cache / "blobs" / "c0")
    save_file(public, cache / "blobs" / "d1")
    for commit in (COMMIT, COMMIT[::-1]):
        folder = cache / "snapshots" / commit
        folder.mkdir(parents=True)
        # The hub's client keeps the files elsewhere.
        (folder / "config.json").symlink_to("../../blobs/c0")
        (folder / "model.safetensors").symlink_to("../../blobs/d1")
    with pytest.raises(InputError, match="name the folder of one commit"):
        converted(cache)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(COMMIT)
    equal(converted(cache), expected)
    for source in (cache, cache / "snapshots" / COMMIT):
        assert find(source).header["source"] == f"worstchan/tiny@{COMMIT}"


TEXTS = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 341\n": "Git LFS pointer",
    b"<!DOCTYPE html>\n<html><head><title>EAT</title>": "an HTML page.*resolve/main",
    b"\n <html lang=en>": "an HTML page",
    b'{"error":"Repository not found"}': "JSON text",
    b"\x1f\x8b\x08\x00": "gzip archive",
    b"\x89HDF\r\n": "HDF5",
    b"model.pt".ljust(257, b"\0") + b"ustar\x0000": "tar archive",
    b"": "an empty file",
    b"\x80\x02\x8a\nl\xfc": r"torch before 1.6 .*torch.save\(torch.load\(FILE, weights_only=True\)",
}


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:16]))
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_what_is_no_checkpoint_is_named_for_what_it_is(text, name, tmp_path):
    (tmp_path / name).write_bytes(text)
    with pytest.raises(InputError, match=TEXTS[text]):
        converted(tmp_path)
