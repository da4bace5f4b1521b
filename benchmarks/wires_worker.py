"""The badcrossbar side of wires.py, run in its environment: python wires_worker.py GIVEN.json FOUND.json"""

import json
import sys
import time
from pathlib import Path

import badcrossbar
import numpy as np


def main() -> None:
    answers = []
    for case in json.loads(Path(sys.argv[1]).read_text()):
        g, driven = np.array(case["g"]), np.array(case["driven"], dtype=float)
        began = time.perf_counter()
        currents = badcrossbar.compute(driven.T, 1 / g, case["ohm"]).currents.output
        answers.append({"currents": np.asarray(currents).tolist(), "seconds": time.perf_counter() - began})
    Path(sys.argv[2]).write_text(json.dumps(answers))


main()
