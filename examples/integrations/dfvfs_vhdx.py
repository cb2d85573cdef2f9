"""VHDX in dfVFS by this reader: dirty images replayed, chains followed, checksums verified. VHD stays as it was.

Import it before anything is opened; from then on, every path specification of type VHDI is read so.
"""

from __future__ import annotations

from typing import Any

from dfvfs.file_io import vhdi_file_io
from dfvfs.lib import definitions
from dfvfs.path import factory
from dfvfs.resolver import resolver
from dfvfs.resolver_helpers import manager, vhdi_resolver_helper

import vhdxreader


class VhdxReaderFile(vhdi_file_io.VHDIFile):
    """A disk, as dfVFS wants it."""

    def _OpenFileObject(self, path_spec: Any) -> Any:  # noqa: N802
        file = resolver.Resolver.OpenFileObject(path_spec.parent, resolver_context=self._resolver_context)
        if file.read(8) != b"vhdxfile":
            return super()._OpenFileObject(path_spec)
        return vhdxreader.open(file, parents=_Parents(path_spec.parent, self._resolver_context))

    def get_size(self) -> int:
        """Bytes."""
        disk = self._file_object
        return disk.size if isinstance(disk, vhdxreader.VirtualDisk) else super().get_size()


class _Parents:
    """Where each image says that its parent is, in the file system of dfVFS in which the image itself lies."""

    def __init__(self, path_spec: Any, context: Any) -> None:
        self._path_spec, self._context = path_spec, context

    def __call__(self, locator: vhdxreader.ParentLocator) -> Any:
        system = resolver.Resolver.OpenFileSystem(self._path_spec, resolver_context=self._context)
        folders = system.SplitPath(self._path_spec.location)[:-1]
        for name in (locator.relative_path or "").split("\\"):
            if name == "..":
                folders = folders[:-1]
            elif name not in ("", "."):
                folders = [*folders, name]
        properties = {**factory.Factory.GetProperties(self._path_spec), "location": system.JoinPath(folders)}
        if self._path_spec.parent is not None:
            properties["parent"] = self._path_spec.parent
        self._path_spec = factory.Factory.NewPathSpec(self._path_spec.type_indicator, **properties)
        if not system.FileEntryExistsByPathSpec(self._path_spec):
            return None
        return resolver.Resolver.OpenFileObject(self._path_spec, resolver_context=self._context)


class VhdxReaderHelper(vhdi_resolver_helper.VHDIResolverHelper):
    """What dfVFS asks for a file of type VHDI."""

    def NewFileObject(self, resolver_context: Any, path_spec: Any) -> VhdxReaderFile:  # noqa: N802
        """A file that is not open yet."""
        return VhdxReaderFile(resolver_context, path_spec)


manager.ResolverHelperManager.DeregisterHelper(manager.ResolverHelperManager.GetHelper(definitions.TYPE_INDICATOR_VHDI))
manager.ResolverHelperManager.RegisterHelper(VhdxReaderHelper())
