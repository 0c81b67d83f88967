"""Patch a module right after the app has imported it, so that nothing is imported early.

A failure to patch is reported and swallowed: the import itself has succeeded.
"""

from __future__ import annotations

import sys

from . import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, Callable, Dict, Optional, Sequence

    Patch = Callable[[ModuleType], None]


def when_imported(patches: Dict[str, Patch]) -> None:
    """Apply each patch to its module: at once if it is there, else when it comes."""
    waiting = {}
    for name, patch in patches.items():
        module = sys.modules.get(name)
        if module is None:
            waiting[name] = patch
        else:
            _apply(name, patch, module)
    if waiting:
        sys.meta_path.insert(0, _Finder(waiting))


def _apply(name: str, patch: Patch, module: ModuleType) -> None:
    try:
        patch(module)
    except Exception as error:
        report.once("%s not patched: %s: %s" % (name, type(error).__name__, error))


class _Finder:
    """Finds what the finders after it find, and wraps the loader of the modules waited for."""

    def __init__(self, waiting: Dict[str, Patch]) -> None:
        self._waiting = waiting

    def find_spec(
        self,
        name: str,
        path: Optional[Sequence[str]] = None,
        target: Optional[ModuleType] = None,
    ) -> Optional[ModuleSpec]:
        if name not in self._waiting:  # asked for every module the app ever imports
            return None
        finders = list(sys.meta_path)
        if self not in finders:
            return None
        # Only those after us: two finders that ask all others would ask each other for ever.
        for finder in finders[finders.index(self) + 1 :]:
            find = getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self)
                return spec  # type: ignore[no-any-return]
        return None

    def imported(self, module: ModuleType) -> None:
        patch = self._waiting.pop(module.__name__, None)
        if patch is not None:
            _apply(module.__name__, patch, module)
        if not self._waiting and self in sys.meta_path:
            sys.meta_path.remove(self)


class _Loader:
    """Stands in for a loader until the module's code runs, then takes itself out again."""

    def __init__(self, loader: Any, finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> Optional[ModuleType]:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._finder.imported(module)
