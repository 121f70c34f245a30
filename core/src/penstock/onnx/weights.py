"""External weights of a model, copied when it is loaded.

Left to itself ONNX Runtime maps the files into memory for as long as the model serves: whoever then copies a newer version over
them changes the answers of the old one, and whoever cuts them off ends the process with a bus error. So a session gets their
contents, of which it takes a copy, and never the files.
"""

import mmap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def copied_weights(source: Path | bytes, names: Sequence[str], options: Any) -> Iterator[None]:
    """While this lasts, `options` make a session of the weights' contents. `names` are the locations that the model gives.

    The files are mapped meanwhile, so that no more than one copy of them is ever in memory. Older releases of the library cannot
    be given contents, and map the files as they always did.
    """
    give = getattr(options, "add_external_initializers_from_files_in_memory", None)
    if not isinstance(source, Path) or give is None:
        yield
        return
    with ExitStack() as stack:
        views: list[mmap.mmap] = []
        kept: list[str] = []
        for name in names:
            file = stack.enter_context((source.parent / name).open("rb"))
            if size := (source.parent / name).stat().st_size:  # nothing cannot be mapped, and holds no weights
                views.append(stack.enter_context(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)))
                kept.append(name)
        if kept:
            give(kept, views, [len(view) for view in views])
        yield
