"""Sounds that detectors are tested with, and their files, changed as somebody might."""

import json

import safetensors.numpy
from machine_sound import sound

FAULTY = [sound(100 + n, fault=0.05) for n in range(6)]
HEALTHY = [sound(200 + n) for n in range(20)]


def altered(path, change):
    """The file with its tensors and header changed, and a checksum that an attacker would also
    write.
    """
    from asd_jax.detector.file import _digest

    tensors = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["asd_jax"])
    change(tensors, header)
    header.pop("sha256")
    plain = {key: value for key, value in header.items() if key != "format"}
    header["sha256"] = _digest(tensors, plain)
    safetensors.numpy.save_file(tensors, path, {"asd_jax": json.dumps(header)})
