"""Image layouts, read by hand as the specification of the Open Container Initiative has them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEDIA = "application/vnd.oci.image"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What stands in a layout that was found to be right.

    :param manifest: of its one image.
    :param config: of that image.
    :param layer: what its one layer unpacks to, a tar archive.
    """

    manifest: dict[str, Any]
    config: dict[str, Any]
    layer: bytes

    def members(self) -> list[tarfile.TarInfo]:
        with tarfile.open(fileobj=io.BytesIO(self.layer)) as tar:
            return tar.getmembers()

    def mount(self, place: Path) -> None:
        """Unpack the layer as a container runtime does."""
        place.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(self.layer)) as tar:
            tar.extractall(place, filter="fully_trusted")  # noqa: S202 - an image of the test


def files_of(layout: Path) -> dict[str, bytes]:
    """The files of a layout, by name: of a folder, or of an archive."""
    if layout.is_dir():
        return {str(path.relative_to(layout)): path.read_bytes() for path in layout.rglob("*") if path.is_file()}
    with tarfile.open(layout) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar if info.isfile()}  # type: ignore[union-attr]


def read_layout(layout: Path) -> Layout:
    """The image of a layout, each part of which is what the one before says of it."""
    files = files_of(layout)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files["index.json"])
    assert (index["schemaVersion"], index["mediaType"]) == (2, f"{MEDIA}.index.v1+json")
    (descriptor,) = index["manifests"]
    manifest = json.loads(_blob(files, descriptor, "manifest.v1+json"))
    assert (manifest["schemaVersion"], manifest["mediaType"]) == (2, f"{MEDIA}.manifest.v1+json")
    config = json.loads(_blob(files, manifest["config"], "config.v1+json"))
    assert descriptor["platform"] == {name: config[name] for name in ("architecture", "os")}
    (of_layer,) = manifest["layers"]
    layer = gzip.decompress(_blob(files, of_layer, "layer.v1.tar+gzip"))
    assert config["rootfs"] == {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}
    assert len(config["history"]) == 1
    assert len(files) == 5, "nothing else stands there"
    return Layout(manifest=manifest, config=config, layer=layer)


def _blob(files: Mapping[str, bytes], descriptor: Mapping[str, Any], media: str) -> bytes:
    algorithm, _, digest = descriptor["digest"].partition(":")
    content = files[f"blobs/{algorithm}/{digest}"]
    assert (algorithm, hashlib.sha256(content).hexdigest()) == ("sha256", digest)
    assert (len(content), descriptor["mediaType"]) == (descriptor["size"], f"{MEDIA}.{media}")
    return content
