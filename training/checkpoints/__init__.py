"""Operations on checkpoints: make one from an encoder, average several, calibrate one, label text with one."""

from training.checkpoints.average import average_checkpoints
from training.checkpoints.calibrate import TEMPERATURE_KEY, calibrate_checkpoint, fit_temperature
from training.checkpoints.convert import convert_encoder
from training.checkpoints.device import Device, keep_memory
from training.checkpoints.encoder import fetch_encoder
from training.checkpoints.label import label_texts

__all__ = [
    "TEMPERATURE_KEY",
    "Device",
    "average_checkpoints",
    "calibrate_checkpoint",
    "convert_encoder",
    "fetch_encoder",
    "fit_temperature",
    "keep_memory",
    "label_texts",
]
