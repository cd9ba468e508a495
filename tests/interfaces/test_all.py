"""The nodes' processes find every interface imported."""

import importlib
import pkgutil

from nipype.interfaces.base import BaseInterface

from shd_bids import interfaces
from shd_bids.interfaces import all as every


def test_every_file_that_defines_a_node_is_imported():
    names = [module.name for module in pkgutil.iter_modules(interfaces.__path__)]
    modules = [importlib.import_module(f"{interfaces.__name__}.{name}") for name in names]
    with_nodes = {
        name
        for name, module in zip(names, modules, strict=True)
        for thing in vars(module).values()
        if isinstance(thing, type)
        and issubclass(thing, BaseInterface)
        and thing.__module__ == module.__name__
    }
    assert with_nodes == set(every.__all__)
