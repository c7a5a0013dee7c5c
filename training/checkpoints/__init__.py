"""Operations on checkpoints: make one from an encoder, average several, calibrate one, label text with one."""

from training.checkpoints.average import average_checkpoints
from training.checkpoints.calibrate import TEMPERATURE_KEY, Calibration, calibrate_checkpoint, fit_temperature
from training.checkpoints.convert import convert_encoder
from training.checkpoints.device import Device, keep_memory
from training.checkpoints.encoder import fetch_encoder
from training.checkpoints.label import label_texts
from training.checkpoints.locate import find_checkpoint
from training.checkpoints.rename import rename_labels

__all__ = [
    "TEMPERATURE_KEY",
    "Calibration",
    "Device",
    "average_checkpoints",
    "calibrate_checkpoint",
    "convert_encoder",
    "fetch_encoder",
    "find_checkpoint",
    "fit_temperature",
    "keep_memory",
    "label_texts",
    "rename_labels",
]
