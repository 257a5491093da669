"""The reader of .pth files: what it reads, and that nothing in a file can run."""

import collections
import os
import pickle
import sys
import types

import numpy as np
import pytest

from research.errors import InputError
from research.networks.pth import MAGIC, PROTOCOL, read_pth


class Storage:
    """Stands for a torch storage while the file is written."""

    def __init__(self, key, data):
        self.key, self.data = key, data


class Tensor:
    """Stands for a torch tensor; pickled as torch pickles one."""

    def __init__(self, storage, offset, shape, strides):
        self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes tensors as torch before 1.6 would, with a stand-in for the parts it names."""
    torch, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})

    def _rebuild_tensor_v2(*arguments): ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    inner._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", inner)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, value.key, "cpu", len(value.data), None)

    def write(tensors, storages):
        path = tmp_path / "weights.pth"
        with path.open("wb") as file:
            header = [MAGIC, PROTOCOL, {"little_endian": True}]
            for part in (*header, tensors, [storage.key for storage in storages]):
                Pickler(file, protocol=2).dump(part)
            for storage in storages:
                file.write(len(storage.data).to_bytes(8, "little") + storage.data.tobytes())
        return path

    return write


def test_offsets_and_strides(write):
    storage = Storage("7", np.arange(10, dtype=np.float32))
    path = write(
        {"a": Tensor(storage, 2, (2, 3), (1, 2)), "b": Tensor(storage, 9, (), ())}, [storage]
    )
    tensors = read_pth(path)
    np.testing.assert_array_equal(tensors["a"], [[2, 4, 6], [3, 5, 7]])
    assert tensors["b"] == 9 and tensors["b"].dtype == np.float32


def test_strides_outside_the_storage_are_refused(write):
    storage = Storage("7", np.arange(10, dtype=np.float32))
    path = write({"a": Tensor(storage, 8, (3,), (1,))}, [storage])
    with pytest.raises(InputError, match="no whole"):
        read_pth(path)


def test_a_file_that_is_cut_short(write):
    storage = Storage("7", np.arange(10, dtype=np.float32))
    path = write({"a": Tensor(storage, 0, (10,), (1,))}, [storage])
    whole = path.read_bytes()
    for length in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="no whole"):
            read_pth(path)


class Malicious:
    """Unpickled freely, it runs a command."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.system, (f"touch {self.victim}",)


def test_nothing_in_the_file_runs(write, tmp_path):
    victim = tmp_path / "it-ran"
    storage = Storage("7", np.arange(10, dtype=np.float32))
    path = write({"a": Tensor(storage, 0, (10,), (1,)), "b": Malicious(victim)}, [storage])
    with pytest.raises(InputError, match="system: refused"):
        read_pth(path)
    path.write_bytes(pickle.dumps(Malicious(victim)))
    with pytest.raises(InputError, match="system: refused"):
        read_pth(path)
    assert not victim.exists()


def test_another_format(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(1) + pickle.dumps(2))
    with pytest.raises(InputError, match="is not a"):
        read_pth(path)
