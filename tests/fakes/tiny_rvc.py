"""A voice of RVC's own networks, HuBERT and RMVPE with few, random weights, in the files that RVC reads.

tiny_rvc()    -> folder: weights/ana.pth (v2), weights/bea.pth (v1), weights/mute.pth (no pitch), hubert_base/,
                 rmvpe/rmvpe.pt, indices/added_IVF4_Flat_nprobe_1_ana_v2.index
RATE          of its voices, in Hz
"""

import importlib.metadata
import shutil
import sys
import types
from pathlib import Path
from typing import Any

from fakes.made_once import made_once

RATE = 40_000
_KINDS = {"ana": ("v2", 1), "bea": ("v1", 1), "mute": ("v2", 0)}


def tiny_rvc() -> Path:
    return made_once("fakes.tiny_rvc", "voice")


def put_rvc(assets: Path) -> Path:
    """A copy in the folder ``assets/rvc``. -> that folder"""
    return Path(shutil.copytree(tiny_rvc(), assets / "rvc"))


def _voice(networks: Any, version: str, has_pitch: int) -> dict[str, Any]:
    import torch

    config = [1025, 32, 32, 32, 64, 2, 2, 3, 0, "1", [3], [[1, 3, 5]], [10, 10, 4], 64, [20, 20, 8], 2, 32, RATE]
    size = "256" if version == "v1" else "768"
    kind = getattr(networks, f"SynthesizerTrnMs{size}NSFsid" + ("" if has_pitch else "_nono"))
    torch.manual_seed(0)
    network = kind(*config, is_half=False)
    with torch.no_grad():
        for name, values in network.dec.named_parameters():
            if "noise_convs" in name:
                values *= 20  # through which the pitch comes in
            if name.endswith("bias"):
                values.zero_()
    weights = {key: value.half() for key, value in network.state_dict().items() if not key.startswith("enc_q")}
    return {
        "weight": weights,
        "config": config,
        "f0": has_pitch,
        "version": version,
        "sr": "40k",
        "info": "random",
    }


def _make(path: Path) -> None:
    import faiss
    import numpy as np
    import torch
    from transformers import HubertConfig

    for name in ("ffmpeg", "torchcrepe", "pkg_resources"):  # imported for what is not done here
        sys.modules.setdefault(name, types.ModuleType(name)).__dict__["get_distribution"] = (
            importlib.metadata.distribution
        )
    from infer_rvc_python.lib.infer_pack import models as networks
    from infer_rvc_python.lib.rmvpe import E2E
    from infer_rvc_python.main import HubertModelWithFinalProj

    (path / "weights").mkdir(parents=True)
    for name, (version, has_pitch) in _KINDS.items():
        torch.save(_voice(networks, version, has_pitch), path / "weights" / f"{name}.pth")
    config = HubertConfig(
        hidden_size=768,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=16,
        classifier_proj_size=256,
    )
    HubertModelWithFinalProj(config).save_pretrained(path / "hubert_base")
    (path / "rmvpe").mkdir()
    # Its size is fixed: of each of its tensors one value is written, which stands for all.
    sizes = {
        key: value.flatten()[:1].clone()[0].expand(value.shape) for key, value in E2E(4, 1, (2, 2)).state_dict().items()
    }
    torch.save(sizes, path / "rmvpe" / "rmvpe.pt")
    vectors = np.random.default_rng(0).random((400, 768), np.float32)
    index = faiss.index_factory(768, "IVF4,Flat")
    index.train(vectors)
    index.add(vectors)
    (path / "indices").mkdir()
    faiss.write_index(index, str(path / "indices" / "added_IVF4_Flat_nprobe_1_ana_v2.index"))


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
