"""Functions of a module that only note how they are called, in place of those that compute."""


class Calls(dict):
    """{name: (arguments, named arguments)} of the last call of each function that was replaced."""

    def __init__(self, monkeypatch, module):
        super().__init__()
        self._monkeypatch = monkeypatch
        self._module = module

    def answer(self, name, value=None):
        """Replaces a function of the module by one that returns the value."""

        def call(*given, **named):
            self[name] = (given, named)
            return value

        self._monkeypatch.setattr(self._module, name, call)
