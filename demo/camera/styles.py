"""The selectable models; a chosen model opens in a thread while the current one keeps running."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from ...common.files import InputError
from ...runtimes.registry import DEFAULT_MODEL, bundled_models
from ...runtimes.stylizer import Stylizer


def model_names(first: Sequence[str]) -> list[str]:
    """Selectable models: the requested ones, else the default; then the other bundled ones."""
    return list(dict.fromkeys([*(first or [DEFAULT_MODEL]), *(model.name for model in bundled_models())]))


class Styles:
    """The selectable models (`names`, in key order). A model is `opened` when first chosen and stays open."""

    def __init__(self, names: Sequence[str], open_model: Callable[[str], Stylizer]) -> None:
        """Open the first model, or raise InputError; leaving the `with` block closes all models."""
        self.names, self._open_model = list(names), open_model
        self.stylizer = open_model(self.names[0])
        self.current = self._wanted = 0
        self.opened = {0: self.stylizer}
        self._opening: tuple[int, Future[Stylizer]] | None = None
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="open-model")

    def choose(self, index: int) -> None:
        """Request a model; the current one runs until it is open. The index wraps around."""
        self._wanted = index % len(self.names)

    def step(self, by: int) -> None:
        """Request the model `by` places further on."""
        self.choose(self._wanted + by)

    @property
    def awaited(self) -> str:
        """Name of the model that is being opened, or empty."""
        return self.names[self._wanted] if self._wanted != self.current else ""

    def update(self) -> bool:
        """Switch to the requested model once it is open; returns whether the model changed.

        Raises InputError if it cannot be opened; the current model keeps running.
        """
        if self._opening is not None and self._opening[1].done():
            index, future = self._opening
            self._opening = None
            try:
                self.opened[index] = future.result()
            except InputError:
                self._wanted = self.current
                raise
        if self._wanted == self.current:
            return False
        if self._wanted in self.opened:
            self.current, self.stylizer = self._wanted, self.opened[self._wanted]
            return True
        if self._opening is None:
            self._opening = self._wanted, self._executor.submit(self._open_model, self.names[self._wanted])
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown(wait=True)
        if self._opening is not None and self._opening[1].exception() is None:
            self.opened[-1] = self._opening[1].result()
        for stylizer in self.opened.values():
            stylizer.close()
