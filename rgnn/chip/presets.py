"""Hardware named after device families, and hardware read from YAML files."""

from dataclasses import dataclass
from pathlib import Path

from rgnn.base.errors import InputError
from rgnn.base.settings import read_yaml
from rgnn.chip.hardware import Hardware
from rgnn.chip.laws import technologies as laws

# A folder of laws, or a chip folder that keeps them, may stand for the file.
IN_FOLDER = ("hardware.yaml", "laws/hardware.yaml")


@dataclass(frozen=True)
class Preset:
    """Hardware named after a device family.

    Attributes:
        hardware: its settings.
        family: what it stands for.
        source: where the numbers come from.
    """

    hardware: Hardware
    family: str
    source: str


PRESETS = {
    "default": Preset(Hardware(), "none in particular", "8 bits and 5% noise of each weight, new at each read"),
    "published": Preset(
        Hardware.published(),
        "40-nm TaOx macro of 256 kb",
        "Xu et al., Nat. Comput. Sci. 2025, doi 10.1038/s43588-025-00844-3, and its program",
    ),
    "measured": Preset(
        Hardware(noise=1.0, noise_reference="measured"),
        "the chip itself, from repeated reads of it",
        "rgnn import-conductance with a folder of reads",
    ),
    "hfox-neurram": Preset(
        Hardware(noise=0.01, noise_reference="device", adc_bits=8, retention="1 day", compensation="column"),
        "130-nm HfOx cells of NeuRRAM, 256 x 256, a day after programming",
        "Wan et al., Nature 608, 504 (2022), doi 10.1038/s41586-022-04992-8: arrays, 8 output bits, relaxation; "
        "read noise of 1%: aihwkit 1.1, ReRamWan2022NoiseModel",
    ),
    "cmo-hfox": Preset(
        Hardware(noise=0.01, noise_reference="device", adc_bits=8, programming_noise=0.0113),
        "analog CMO/HfOx cells, programmed to within 2%",
        "aihwkit 1.1, ReRamCMONoiseModel: programming deviation 0.0113 G + 0.011 uS, read noise of 1%; "
        "8 output bits are an assumption",
    ),
    "rram-a": Preset(
        Hardware(noise=1.0, noise_reference="law", noise_law=laws.READ_NOISE_A, retention_law=laws.BAKE_A),
        "technology A of Levy et al.: read noise by a law; bakes by retention_time and retention_temperature",
        "fitted by rgnn chip fit to github.com/akashlevy/RRAM-Relaxation-Master-Model (MIT), five cells and a bake",
    ),
    "rram-b": Preset(
        Hardware(
            noise=None,
            programming_law=laws.PROGRAMMING_B,
            retention_law=laws.RELAXATION_B,
            retention_time=10_000.0,
            compensation="column",
        ),
        "technology B of Levy et al., 10,000 s after programming; read noise was not measured",
        "fitted by rgnn chip fit to github.com/akashlevy/RRAM-Relaxation-Master-Model (MIT), 15,961 cells",
    ),
}


def load_hardware(name_or_path: str) -> Hardware:
    """The preset of this name, or the settings in the YAML file of this path (under `hardware:`, or alone).

    A folder that `rgnn chip fit` wrote, or a chip folder with one in laws/, stands for its hardware.yaml.

    Raises:
        InputError: neither.
    """
    if name_or_path in PRESETS:
        return PRESETS[name_or_path].hardware
    inside = (Path(name_or_path) / name for name in IN_FOLDER)
    name_or_path = next((str(path) for path in inside if path.is_file()), name_or_path)
    if not Path(name_or_path).is_file():
        raise InputError(
            f"'{name_or_path}' is neither a hardware preset nor a YAML file; the presets are {', '.join(PRESETS)}."
        )
    settings = read_yaml(name_or_path)
    return Hardware.from_mapping(settings.get("hardware", settings), name_or_path)
