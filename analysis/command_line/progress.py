"""Progress of a verb, on stderr: a bar in a terminal and in a notebook, one line per phase elsewhere."""

import sys

from tqdm import tqdm


class Progress:
    """Display of one phase at a time. Close it before anything else is printed."""

    def __init__(self) -> None:
        self._phase = ""
        self._bar: tqdm[None] | None = None

    def tell(self, phase: str, done: int = 0, total: int = 0) -> None:
        """Show the progress of a phase. total: 0 if unknown."""
        if not _is_watched():
            if phase != self._phase or (total and done == total):
                print(f"{phase} {done}/{total}" if total else phase, file=sys.stderr, flush=True)
        elif self._bar is None or (phase, total) != (self._phase, self._bar.total or 0):
            self.close()
            self._bar = tqdm(total=total or None, desc=phase, initial=done, file=sys.stderr, leave=False)
        else:
            self._bar.update(done - self._bar.n)
        self._phase = phase

    def note(self, text: str) -> None:
        """Print a line that stays, above the bar."""
        if self._bar is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _is_watched() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules
