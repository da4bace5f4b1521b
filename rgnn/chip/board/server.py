"""A board of Python behind pipes or a folder: what answers the requests of another process."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from rgnn.chip.board.messages import MessageFolder, decode, encode
from rgnn.chip.board.protocol import Board, BoardFault
from rgnn.chip.board.transports import LOOK, answered


def answer_of(board: Board, message: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request; a failure is an answer, too."""
    rest = dict(message)
    number, name = rest.pop("id", None), rest.pop("call", None)
    try:
        if not isinstance(number, int) or not isinstance(name, str):
            raise BoardFault("was sent a message without id and call", passing=False)
        return {"id": number, "ok": True, **answered(board, name, rest)}
    except BoardFault as fault:
        return failure(number, fault)


def failure(number: object, fault: BoardFault) -> dict[str, Any]:
    """The answer that says so."""
    return {"id": number, "ok": False, "error": str(fault), "retry": fault.passing}


def serve_lines(board: Board, requests: Iterable[bytes], answers: BinaryIO) -> None:
    """Answer each line of the requests with a line, until they end.

    Args:
        board: that answers.
        requests: such as the standard input, in bytes.
        answers: such as the standard output, in bytes.
    """
    for line in requests:
        if not line.strip():
            continue
        try:
            answer = answer_of(board, decode(line))
        except BoardFault as fault:
            answer = failure(None, fault)
        try:
            text = encode(answer)
        except (TypeError, ValueError) as error:
            text = json.dumps(failure(answer.get("id"), BoardFault(f"cannot be written: {error}", passing=False)))
        answers.write(text.encode() + b"\n")
        answers.flush()


def serve_folder(board: Board, folder: str | Path, stop: Callable[[], bool] = lambda: False) -> None:
    """Answer the requests that come into a folder, the lowest number first, until `stop` says so."""
    messages = MessageFolder(folder)
    while not stop():
        names = [file.stem for file in sorted(messages.folder.glob("request-*.json"))]
        todo = [name for name in names if not (messages.folder / f"answer-{name.partition('-')[2]}.json").exists()]
        for name in todo:
            answer = f"answer-{name.partition('-')[2]}"
            try:
                request = messages.read(name)
            except BoardFault as fault:
                messages.write(answer, failure(None, fault))
                continue
            if request is not None:
                messages.write(answer, answer_of(board, request))
        if not todo:
            time.sleep(LOOK)
