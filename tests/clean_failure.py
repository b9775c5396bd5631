"""Checks that a command fails with one message and leaves nothing behind."""

import re

NO_WEIGHTS = (
    "none.safetensors: no such weight file; the public EAT-base weights are brought in with\n"
    "  python -m convert.eat --source=worstchan/EAT-base_epoch30_pretrain "
    "--output=weights/eat_base.safetensors\n"
    "and the small encoder that comes with the package is named box (model.size=tiny)"
)


def tree(root):
    """Every file's content; folders as None."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def fails_cleanly(command, module, flags, message, *folders):
    """Checks that the whole error is `message`, in which ... stands for any text, and that the
    folders stay as they are; returns the standard output.
    """
    before = [tree(folder) for folder in folders]
    status, out, err = command(module, *flags)
    assert status == 2, (out, err)
    whole = ".*".join(map(re.escape, f"error: {message}\n".split("...")))
    assert re.fullmatch(whole, err, re.DOTALL), err
    assert [tree(folder) for folder in folders] == before
    return out
