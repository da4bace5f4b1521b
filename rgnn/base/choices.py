"""The words that settings and options can take, for the library and the command line alike."""

from typing import Literal

# The chip
Rounding = Literal["nearest", "floor"]
InputRange = Literal["calibrated", "dynamic"]
OutputRange = Literal["calibrated", "full"]
NoiseReference = Literal["weight", "device", "measured", "law"]
NoiseSharing = Literal["read", "product", "plane", "call", "chip"]
Offset = Literal["clean", "last_plane"]
RetentionTime = Literal["1 s", "1 day", "2 days"]
Compensation = Literal["none", "global", "column"]
AdcCalibration = Literal["none", "linear"]
ConductanceUnit = Literal["S", "mS", "uS", "nS", "pS", "Ohm", "kOhm", "MOhm", "GOhm"]
AxisOfReads = Literal["first", "last"]
PairDirection = Literal["columns", "rows"]
ConductanceScheme = Literal["signed", "pair", "pair-rows", "pair-halves", "reference"]

# Data
UnitStyle = Literal["metal", "real", "atomic"]

# Models and training
ShortRange = Literal["none", "zbl"]
Envelope = Literal["cosine", "none"]
Preset = Literal["default", "published", "gnnff", "ridge", "moments", "energy"]
Split = Literal["auto", "blocks", "random"]
Loss = Literal["mse", "mae", "huber"]
RateSchedule = Literal["plateau", "cosine"]
NoiseSchedule = Literal["constant", "ramp", "range"]
ChipGradient = Literal["blocked", "straight_through"]

FrameChoice = Literal["farthest", "random"]
LabelProgram = Literal["vasp", "cp2k", "espresso"]

# Molecular dynamics
Ensemble = Literal["nvt", "bussi", "nose-hoover", "nve", "npt", "nph"]
RelaxedCell = Literal["none", "isotropic", "full"]
CellMotion = Literal["isotropic", "anisotropic", "full"]
Engine = Literal["ase", "lammps"]
SlowHardware = Literal["trained", "ideal"]
Ghosts = Literal["exchange", "deep"]
Trajectory = Literal["both", "xyz", "traj"]
CloseContacts = Literal["stop", "warn", "ignore"]
UncertaintyMethod = Literal["posterior", "committee", "distance"]
UncertaintyChoice = Literal["auto", "posterior", "committee", "distance", "none"]

# Costs
Level = Literal["low", "nominal", "high"]

# The machine
Device = Literal["auto", "cpu", "cuda"]
