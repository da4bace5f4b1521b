"""How calls reach a board: a class in this process, a process over pipes, or a folder of files."""

import collections
import importlib
import queue
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rgnn.base.errors import InputError, first_line
from rgnn.chip.board.messages import MessageFolder, decode, encode
from rgnn.chip.board.protocol import CALLS, Board, BoardFault
from rgnn.chip.board.simulator import SimulatedBoard
from rgnn.chip.hardware import Hardware
from rgnn.chip.presets import load_hardware

# Seconds until a board that says nothing counts as stopped.
TIMEOUT = 60.0
# Seconds between two looks for a file, and to wait for a process to end by itself.
LOOK, PATIENCE = 0.02, 2.0
# Lines of what a board writes to its error stream that are kept.
SAID = 20

KINDS = (
    "MODULE:NAME for a Python class, 'process: COMMAND' for a program that speaks JSON lines, 'folder: PATH' for a "
    "folder of messages, or 'simulator' (or 'simulator: HARDWARE')"
)


class Transport(Protocol):
    """A way to a board."""

    def call(self, name: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make one of the four calls and wait for its answer.

        Raises:
            BoardFault: the board stopped, was silent for too long, or said that it failed.
        """

    def restart(self) -> None:
        """Begin again with a board that has forgotten everything; raises BoardFault where that fails."""

    def close(self) -> None:
        """Let the board go."""


class InProcess:
    """A Python object with the four calls; nothing is timed, since nothing can be broken off.

    Args:
        make: gives a new board.
    """

    def __init__(self, make: Any) -> None:
        self._make, self._board = make, make()

    def call(self, name: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Transport`."""
        return answered(self._board, name, message)

    def restart(self) -> None:
        """See `Transport`."""
        try:
            self._board = self._make()
        except Exception as error:
            raise BoardFault(f"could not be made again ({first_line(error)})") from error

    def close(self) -> None:
        """See `Transport`."""
        close = getattr(self._board, "close", None)
        if callable(close):
            close()


def answered(board: Board, name: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a Python board answers to one of the four calls; whatever it raises is a BoardFault."""
    if name not in CALLS:
        raise BoardFault(f"was called '{name}', but the calls are {', '.join(CALLS)}", passing=False)
    function = getattr(board, name, None)
    if function is None:
        raise BoardFault(f"has no call '{name}'", passing=False)
    try:
        answer = function(**message)
    except BoardFault:
        raise
    except Exception as error:
        raise BoardFault(f"failed in '{name}': {first_line(error)}") from error
    if not isinstance(answer, Mapping):
        raise BoardFault(f"answers '{name}' with {type(answer).__name__}, not with a mapping", passing=False)
    return answer


def checked(answer: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """The answer to call number `number`, without what only the transport needs.

    Raises:
        BoardFault: it belongs to another call, or says that the board failed.
    """
    if answer.get("id") != number:
        raise BoardFault(f"answers call {answer.get('id')!r}, but {number} was asked")
    if answer.get("ok") is not True:
        raise BoardFault(f"says: {str(answer.get('error', 'no reason given'))[:200]}", answer.get("retry") is True)
    return {key: value for key, value in answer.items() if key not in ("id", "ok")}


class Pipes:
    """A process that reads requests from its input and writes answers to its output, one line each.

    Args:
        command: as a shell has it; no shell is started.
        timeout: seconds until a silent board counts as stopped.
    """

    def __init__(self, command: str, timeout: float = TIMEOUT) -> None:
        self.command, self.timeout, self._number = command, timeout, 0
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise InputError(f"the command of the board is '{command}' ({error}); write it as in a shell.") from None
        if not self._words:
            raise InputError("the driver is 'process:' without a command; name the program of the board.")
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._start()
        except BoardFault as fault:
            raise InputError(f"the board '{command}' {fault}; check the command.") from None

    def _start(self) -> None:
        try:
            # A session of its own: Ctrl-C is for rgnn, which then lets the board finish its call.
            self._process = subprocess.Popen(
                self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise BoardFault(f"cannot be started ({(error.strerror or 'unknown').lower()})", passing=False) from None
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._to_send: queue.Queue[bytes | None] = queue.Queue()
        self._said: collections.deque[str] = collections.deque(maxlen=SAID)
        arguments = (self._process, self._lines, self._to_send, self._said)
        for work in (_read_lines, _send_lines, _read_errors):
            threading.Thread(target=work, args=arguments, daemon=True).start()

    def call(self, name: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Transport`."""
        if self._process is None:
            raise BoardFault("was stopped")
        self._number += 1
        self._to_send.put(encode({"id": self._number, "call": name, **message}).encode() + b"\n")
        end = time.monotonic() + self.timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise BoardFault(f"said nothing for {self.timeout:g} s") from None
            if line is None:
                raise BoardFault(self._how_it_ended())
            if line.strip():
                return checked(decode(line), self._number)

    def _how_it_ended(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return "closed its output"
        last = next((text for text in reversed(self._said) if text), "")
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return how + (f", and said last: {last[:200]}" if last else "")

    def restart(self) -> None:
        """See `Transport`."""
        self.close()
        self._start()

    def close(self) -> None:
        """See `Transport`; the end of its input asks the process to end."""
        process, self._process = self._process, None
        if process is None:
            return
        self._to_send.put(None)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_Queue = queue.Queue[bytes | None]
_Said = collections.deque[str]


def _read_lines(process: subprocess.Popen[bytes], lines: _Queue, to_send: _Queue, said: _Said) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _send_lines(process: subprocess.Popen[bytes], lines: _Queue, to_send: _Queue, said: _Said) -> None:
    assert process.stdin is not None
    try:
        while (line := to_send.get()) is not None:
            process.stdin.write(line)
            process.stdin.flush()
        process.stdin.close()
    except OSError:
        return  # it has ended, as its output says


def _read_errors(process: subprocess.Popen[bytes], lines: _Queue, to_send: _Queue, said: _Said) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line.decode("utf-8", "replace").strip())


class Folder:
    """A folder: request-NNNNNN.json goes in, answer-NNNNNN.json comes out, with NPY files of their arrays.

    Args:
        folder: made where absent.
        timeout: seconds until a silent board counts as stopped.
    """

    def __init__(self, folder: str | Path, timeout: float = TIMEOUT) -> None:
        self.timeout, self._messages = timeout, MessageFolder(folder)
        numbers = [int(f.stem.rpartition("-")[2]) for f in Path(folder).glob("*-[0-9]*.json") if _is_message(f)]
        self._number = max(numbers, default=0)

    def call(self, name: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Transport`; request and answer are taken away at the end."""
        self._number += 1
        request, answer = f"request-{self._number:06d}", f"answer-{self._number:06d}"
        self._messages.write(request, {"id": self._number, "call": name, **message})
        end = time.monotonic() + self.timeout
        try:
            while (found := self._messages.read(answer)) is None:
                if time.monotonic() > end:
                    raise BoardFault(f"left {request}.json without an answer for {self.timeout:g} s")
                time.sleep(LOOK)
            return checked(found, self._number)
        finally:
            self._messages.remove(request)
            self._messages.remove(answer)

    def restart(self) -> None:
        """See `Transport`; the board is somewhere else and does it for itself."""

    def close(self) -> None:
        """See `Transport`."""


def _is_message(file: Path) -> bool:
    kind, _, number = file.stem.rpartition("-")
    return kind in ("request", "answer") and number.isdigit()


def transport(driver: str, timeout: float = TIMEOUT, seed: int = 0) -> Transport:
    """The way to the board that a driver names.

    Args:
        driver: see `KINDS`.
        timeout: seconds until a silent board counts as stopped.
        seed: of the simulator's noise.

    Raises:
        InputError: no such driver, or it cannot be started.
    """
    kind, _, rest = driver.partition(":")
    kind, rest = kind.strip(), rest.strip()
    if kind == "process":
        return Pipes(rest, timeout)
    if kind == "folder" and rest:
        return Folder(rest, timeout)
    if kind == "simulator":
        hardware = load_hardware(rest) if rest else Hardware()
        return InProcess(lambda: SimulatedBoard(hardware, seed))
    return InProcess(python_class(driver))


def python_class(name: str) -> Any:
    """What makes a new board of the class MODULE:NAME, which may lie in the current folder.

    Raises:
        InputError: there is none, or it cannot be made.
    """
    module, _, name = (part.strip() for part in name.partition(":"))
    if not name:
        raise InputError(f"the driver is '{module}', but it must be {KINDS}.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise InputError(
            f"the driver's module '{module}' cannot be imported ({first_line(error)}); put it into the current folder "
            "or install it."
        ) from None
    except AttributeError:
        raise InputError(f"the module '{module}' has no '{name}'; name the class of the board.") from None
    if not callable(found):
        raise InputError(f"'{module}:{name}' is not a class; name the class of the board.")

    def make() -> Any:
        try:
            return found()
        except Exception as error:
            raise InputError(f"'{module}:{name}' cannot be made ({first_line(error)}).") from error

    return make
