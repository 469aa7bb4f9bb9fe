"""The finished laboratory of the end-to-end tests, for slow ones too."""

from tests.endtoend.conftest import copy, finished

__all__ = ["copy", "finished"]
