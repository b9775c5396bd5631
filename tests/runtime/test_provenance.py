import re
import sys
from pathlib import Path

import asd_jax
from asd_jax.runtime.provenance import made_by


def test_the_command_can_be_typed_again_and_names_no_folder_of_the_user(monkeypatch):
    train = str(Path(asd_jax.__file__).with_name("train.py"))
    flags = ["--config=configs/toycar.py", "--workdir=/home/me/runs/toy car"]
    monkeypatch.setattr(sys, "argv", [train, *flags])
    found = made_by()
    wanted = "python -m asd_jax.train --config=configs/toycar.py '--workdir=toy car'"
    assert found["command"] == wanted and re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])
    monkeypatch.setattr(sys, "argv", ["/usr/bin/asd-jax", "train"])
    assert made_by()["command"] == "asd-jax train"
