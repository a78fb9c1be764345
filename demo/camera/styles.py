"""The models to choose from; a chosen one is opened in a thread while the one before goes on."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from ...common.files import InputError
from ...runtimes.registry import DEFAULT_MODEL, bundled_models
from ...runtimes.stylizer import Stylizer


def model_names(first: Sequence[str]) -> list[str]:
    """The models to choose from: those that were asked for, else the default one; then the other bundled ones."""
    return list(dict.fromkeys([*(first or [DEFAULT_MODEL]), *(model.name for model in bundled_models())]))


class Styles:
    """The models to choose from; each is opened when it is first chosen, and stays open.

    Attributes:
        names: what people call them, in the order of the keys.
        current: index of the one that runs.
        stylizer: the one that runs.
    """

    def __init__(self, names: Sequence[str], open_model: Callable[[str], Stylizer]) -> None:
        """Open the first of some models; the caller closes all by leaving the `with` block.

        Raises:
            InputError: it cannot be opened.
        """
        self.names, self._open_model = list(names), open_model
        self.stylizer = open_model(self.names[0])
        self.current = self._wanted = 0
        self._opened = {0: self.stylizer}
        self._opening: tuple[int, Future[Stylizer]] | None = None
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="open-model")

    def choose(self, index: int) -> None:
        """Want a model; the one before runs on until it is open. An index outside wraps around."""
        self._wanted = index % len(self.names)

    def step(self, by: int) -> None:
        """Want the model that is so many places on."""
        self.choose(self._wanted + by)

    @property
    def engines(self) -> dict[int, str]:
        """What runs each model that is open, by index."""
        return {index: stylizer.engine for index, stylizer in self._opened.items()}

    @property
    def awaited(self) -> str:
        """The model that is being opened, or nothing."""
        return self.names[self._wanted] if self._wanted != self.current else ""

    def update(self) -> bool:
        """Take over the wanted model once it is open; whether another one runs now.

        Raises:
            InputError: it cannot be opened; the one before runs on.
        """
        if self._opening is not None and self._opening[1].done():
            index, future = self._opening
            self._opening = None
            try:
                self._opened[index] = future.result()
            except InputError:
                self._wanted = self.current
                raise
        if self._wanted == self.current:
            return False
        if self._wanted in self._opened:
            self.current, self.stylizer = self._wanted, self._opened[self._wanted]
            return True
        if self._opening is None:
            self._opening = self._wanted, self._executor.submit(self._open_model, self.names[self._wanted])
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Close all models, one that is being opened too."""
        self._executor.shutdown(wait=True)
        if self._opening is not None and self._opening[1].exception() is None:
            self._opened[-1] = self._opening[1].result()
        for stylizer in self._opened.values():
            stylizer.close()
