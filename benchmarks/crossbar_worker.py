"""The aihwkit side of crossbars.py, run in its environment: python crossbar_worker.py GIVEN.json FOUND.json"""

import json
import sys
from pathlib import Path

import torch
from aihwkit.nn import AnalogLinear
from aihwkit.simulator.configs import TorchInferenceRPUConfig
from aihwkit.simulator.parameters import IOParameters, MappingParameter, WeightModifierParameter
from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType, WeightModifierType
from aihwkit.simulator.tiles.analog_mvm_irdrop_t import AnalogMVMIRDropT


def tile(weight: torch.Tensor, case: dict, bound: float) -> AnalogLinear:
    """Inputs in [0, 1] of 2^bits - 1 steps, outputs in [-bound, bound] of 2^adc_bits - 2, weights that fluctuate."""
    config = TorchInferenceRPUConfig(
        mapping=MappingParameter(weight_scaling_omega=0.0, max_input_size=0, max_output_size=0)
    )
    in_steps = 0 if case["serial"] or not case["bits"] else 2 ** case["bits"] - 1
    config.forward = IOParameters(
        inp_bound=1.0,
        inp_res=0.5 / in_steps if in_steps else -1,
        out_bound=bound if case["adc_bits"] else 0.0,
        out_res=1 / (2 ** case["adc_bits"] - 2) if case["adc_bits"] else -1,
        out_noise=0.0,
        noise_management=NoiseManagementType.NONE,
        bound_management=BoundManagementType.NONE,
    )
    kind = WeightModifierType.NONE
    if case["noise"]:
        kind = WeightModifierType.ADD_NORMAL if case["additive"] else WeightModifierType.MULT_NORMAL
    config.modifier = WeightModifierParameter(
        type=kind,
        std_dev=case["noise"],
        assumed_wmax=1.0,
        rel_to_actual_wmax=False,
        per_batch_sample=case["noise"] > 0 and case["sharing"] != "call",
    )
    layer = AnalogLinear(weight.shape[1], weight.shape[0], bias=False, rpu_config=config)
    layer.set_weights(weight)
    return layer.train()  # weights fluctuate in training only


def outputs(layer: AnalogLinear, x: torch.Tensor, case: dict) -> torch.Tensor:
    """One call; bit by bit where aihwkit's array is read so, shifted and added here."""
    if not case["serial"]:
        return layer(x)
    last = 2 ** case["bits"] - 1
    codes = (x * last).round().int()
    return sum(2**b * layer((codes >> b & 1).float()) for b in range(case["bits"])) / last


def line_currents(line: dict, ohm: float, segments: int) -> list:
    """[vectors, columns] currents of columns of single cells on a wire, uA at 1 V, by aihwkit's Thevenin circuits.

    Its rows stand at 0.2 V above what the column is read at where they are driven, and at that where they are not.
    """
    g, driven = (torch.tensor(line[name], dtype=torch.float64) for name in ("siemens", "driven"))
    cells = [1e6 * g, torch.zeros_like(g)]
    volt, megaohm = AnalogMVMIRDropT._thev_equiv(driven, cells, 2, 1.0, segments, ohm, len(g), use_extension=False)
    return ((volt - 0.4) / megaohm / 0.2)[..., 0].tolist()


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    weight, x = torch.tensor(given["weight"]), torch.tensor(given["x"])
    torch.manual_seed(1)
    found = []
    for case, bound in zip(given["cases"], given["bounds"], strict=True):
        layer = tile(weight, case, bound)
        with torch.no_grad():
            draws = torch.stack([outputs(layer, x, case) for _ in range(given["draws"] if case["noise"] else 1)])
        found.append(draws.tolist())
    wires = [[line_currents(given["line"], ohm, segments) for segments in given["segments"]] for ohm in given["ohm"]]
    Path(sys.argv[2]).write_text(json.dumps({"draws": found, "wires": wires}))


main()
