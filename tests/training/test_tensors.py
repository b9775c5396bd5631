import dataclasses
import json
import re

import numpy as np
import pytest
import safetensors.numpy

from asd_jax.runtime.errors import InputError
from asd_jax.training.tensors import DTYPES, open_tensors, write_safetensors
from asd_jax.training.weights import load_pipeline


def test_a_header_larger_than_any_is_not_read(tmp_path):
    with (tmp_path / "a.safetensors").open("wb") as file:
        file.write((64 << 20).to_bytes(8, "little"))
        file.truncate((64 << 20) + 8)  # a hole
    with pytest.raises(InputError, match="a header of 67108864 bytes"):
        load_pipeline(tmp_path / "a.safetensors")


def test_a_header_of_32_mib_is_the_largest(tmp_path):
    """The library finds the file too short; one byte more is not read at all."""
    for size, said in ((32 << 20, "[(](?!a header of)"), ((32 << 20) + 1, "[(]a header of 335")):
        path = tmp_path / f"{size}.safetensors"
        with path.open("wb") as file:
            file.write(size.to_bytes(8, "little"))
        with pytest.raises(InputError, match=f"{path}: not a readable safetensors file {said}"):
            open_tensors(path)


def test_a_tensor_of_eight_axes_is_read_and_metadata_may_be_missing(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({"x": np.ones([1] * 7 + [3], np.uint8)}, path)
    metadata, tensors = open_tensors(path)
    assert "file=" not in repr(tensors["x"])
    assert metadata == {} and tensors["x"].shape == (1, 1, 1, 1, 1, 1, 1, 3)
    assert tensors["x"].read().tolist() == [[[[[[[[1, 1, 1]]]]]]]]


def test_an_error_of_the_reader_names_the_file(tmp_path):
    class Reader:
        error: BaseException = OSError("unplugged")

        def get_tensor(self, name):
            raise self.error

    write_safetensors(tmp_path / "x.safetensors", {"w": np.zeros(3, np.float32)}, {})
    reader = Reader()
    tensor = open_tensors(tmp_path / "x.safetensors")[1]["w"]
    tensor = dataclasses.replace(tensor, file=reader)
    with pytest.raises(InputError, match="x.safetensors: not a readable .* [(]unplugged[)]"):
        tensor.read()
    reader.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        tensor.read()


def test_every_type_comes_back_and_the_library_reads_the_same(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {f"a/{code}": rng.integers(0, 2, (2, 3)).astype(of) for code, of in DTYPES.items()}
    tensors |= {"scalar": np.float32(3.0), "empty": np.zeros((0, 4), np.int8)}
    write_safetensors(tmp_path / "a" / "b.safetensors", tensors, {"said": "é"})
    metadata, found = open_tensors(tmp_path / "a" / "b.safetensors")
    assert metadata == {"said": "é"} and set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        np.testing.assert_array_equal(found[name].read(), tensor)
    by_library = safetensors.numpy.load_file(tmp_path / "a" / "b.safetensors")
    np.testing.assert_array_equal(by_library["a/F64"], tensors["a/F64"])


def test_a_panic_of_the_library_is_a_lack_of_memory(tmp_path):
    class PanicException(BaseException):
        """As the library's, which a failed allocation of Python raises."""

    class Reader:
        def get_tensor(self, name):
            raise PanicException("PyObject pointer is null")

    write_safetensors(tmp_path / "x.safetensors", {"w": np.zeros(3, np.float32)}, {})
    tensor = open_tensors(tmp_path / "x.safetensors")[1]["w"]
    with pytest.raises(MemoryError, match="tensor w of"):
        dataclasses.replace(tensor, file=Reader()).read()


def test_values_begin_at_a_multiple_of_eight_bytes(tmp_path):
    """So that a reader may map them: the widest types come first, behind a padded header."""
    path = tmp_path / "a.safetensors"
    one = np.zeros(3, np.uint8)
    write_safetensors(path, {"c": one, "a": one, "b": np.arange(2.0)}, {"x": "yy"})
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    assert header % 8 == 0
    # No more than is needed, and names of one width in their order.
    text = content[8 : 8 + header]
    assert len(text) - len(text.rstrip(b" ")) < 8
    assert list(json.loads(text)) == ["__metadata__", "b", "a", "c"]
    assert np.frombuffer(content[8 + header : 24 + header]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (np.zeros([1] * 9, np.uint8), "tensor 'x' of U8 with 9 axes; known: F64, F32, BF16, F16, "),
        (np.zeros(2, np.uint16), "tensor 'x' of U16 with 1 axes; known: F64, F32, BF16, F16, "),
    ],
)
def test_tensors_that_no_model_has_are_named(tmp_path, tensor, said):
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({"x": tensor}, path)
    said += "I64, I32, I16, I8, U8, BOOL with 8 axes at most"
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}: {said}')}$"):
        open_tensors(path)
