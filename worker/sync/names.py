"""Names of folders: messages carry only a folder's id, so each new folder is asked for once."""

from collections.abc import Generator

from worker.errors import NotFoundError, UnreadableError, UnsupportedError
from worker.ports import LeasedStore, Source
from worker.records import Batch, Folder


def name_folders(source: Source, store: LeasedStore) -> Generator[Batch, None, None]:
    """Ask for the folders whose name is not known; one that cannot be read now is asked for again at the next walk."""
    named: list[Folder] = []
    gone: list[str] = []
    for folder_id in store.unnamed_folders():
        store.renew()
        try:
            named.append(source.folder(folder_id))
        except NotFoundError:
            gone.append(folder_id)
        except UnreadableError:
            continue
        except UnsupportedError:
            break
    if named or gone:
        yield Batch(stream="windows", folders=tuple(named), gone_folders=tuple(gone))
