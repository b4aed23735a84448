#!/usr/bin/env python3
"""Imports what PyTorch, timm and safetensors write, exports it again, and compares every number.

usage: compare_import.py --unmask build/release/unmask [--archs b0,b4,b7]      needs torch, timm, safetensors, numpy, h5py

For each architecture, from timm's tf_efficientnet with random weights (batch-norm statistics too):
  checkpoint  {epoch, state_dict, bce_best}, "module." before each name, encoder.classifier.* and num_batches_tracked, the loss a NumPy number: zip
  legacy      the bare state dict in the format before zip
  half, bf16  the checkpoint in f16 and bf16
  safe        the state dict as safetensors, and in f16
  timm        timm's own state dict, .pth and .safetensors: an encoder
What is exported must hold the same bits as the source converted to f32, load into the module strictly (but for what is dropped by name), and import again to the same fingerprint.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import safetensors.torch
import timm
import torch

problems = 0


def check(ok, what):
    global problems
    if not ok:
        problems += 1
        print(f"FAILED: {what}")


class Reference(torch.nn.Module):
    """The names of the reference's DeepFakeClassifier."""

    def __init__(self, arch):
        super().__init__()
        self.encoder = timm.create_model(f"tf_efficientnet_{arch}", pretrained=False, drop_path_rate=0.2)
        self.fc = torch.nn.Linear(self.encoder.num_features, 1)


def make(arch, seed):
    torch.manual_seed(seed)
    net = Reference(arch)
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.weight.uniform_(0.5, 1.5)
                m.bias.uniform_(-1, 1)
                m.running_mean.normal_()
                m.running_var.uniform_(0.1, 2)
                m.num_batches_tracked.fill_(12345678)
    return net


def run(*words):
    p = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if p.returncode != 0:
        sys.exit(f"{' '.join(words)} exited with {p.returncode}: {p.stderr}")
    return p.stdout


def dropped(name):
    return name.startswith("encoder.classifier.") or name.endswith(".num_batches_tracked")


def one(unmask, folder, arch, net, kind, path, encoder):
    state = net.state_dict()
    convert = {"half": torch.float16, "safe_half": torch.float16, "bf16": torch.bfloat16}.get(kind, torch.float32)
    want = {k: v.to(convert).to(torch.float32) for k, v in state.items() if not dropped(k) and not (encoder and k.startswith("fc."))}
    model, back, again = (os.path.join(folder, f) for f in ("model.h5", "back.safetensors", "again.h5"))
    run(unmask, "import", "classifier", path, "-o", model, "--quiet")
    size = os.path.getsize(path)
    run(unmask, "export", "model", model, "-o", back, "--quiet")
    got = safetensors.torch.load_file(back)
    check(set(got) == set(want), f"{arch} {kind}: names differ by {sorted(set(got) ^ set(want))[:5]}")
    wrong = [k for k in want if k in got and (got[k].dtype != torch.float32 or got[k].shape != want[k].shape or not torch.equal(got[k].view(torch.int32), want[k].view(torch.int32)))]
    check(not wrong, f"{arch} {kind}: numbers differ in {len(wrong)} tensors: {wrong[:5]}")
    fresh = Reference(arch)
    result = fresh.load_state_dict(got, strict=False)
    missing = [k for k in result.missing_keys if not dropped(k) and not (encoder and k.startswith("fc."))]
    check(not result.unexpected_keys and not missing, f"{arch} {kind}: does not load: {result.unexpected_keys[:3]} {missing[:3]}")
    bare = timm.create_model(f"tf_efficientnet_{arch}", pretrained=False, num_classes=0)  # without its classifier: strict but for the counters
    counters = {k: v for k, v in bare.state_dict().items() if k.endswith("num_batches_tracked")}
    bare.load_state_dict({**{k[len("encoder."):]: v for k, v in got.items() if k.startswith("encoder.")}, **counters}, strict=True)
    about = json.loads(run(unmask, "inspect", model, "--json"))
    check(about["arch"] == arch and about["size"] == 380 and about["head"] == (not encoder), f"{arch} {kind}: {about}")
    check(about["parameters"] == sum(v.numel() for v in want.values()), f"{arch} {kind}: {about['parameters']} parameters")
    with h5py.File(model) as f:
        check(set(f) == set(want), f"{arch} {kind}: names in model.h5")
        check(all(np.array_equal(f[k][()].view(np.int32), want[k].contiguous().numpy().view(np.int32)) for k in want), f"{arch} {kind}: numbers in model.h5")
        check(f.attrs["arch"].decode() == arch and f.attrs["source"].decode() == os.path.basename(path), f"{arch} {kind}: attributes")
    run(unmask, "import", "classifier", back, "-o", again, "--quiet")
    check(json.loads(run(unmask, "inspect", again, "--json"))["fingerprint"] == about["fingerprint"], f"{arch} {kind}: another fingerprint after export and import")
    print(f"{arch} {kind}: {about['parameters']} parameters, source {size / 1e6:.1f} MB, model {os.path.getsize(model) / 1e6:.1f} MB")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--unmask", required=True)
    parser.add_argument("--archs", default="b0,b4,b7")
    options = parser.parse_args()
    for arch in options.archs.split(","):
        net = make(arch, 7)
        state = net.state_dict()
        timm_state = net.encoder.state_dict()
        module = {"module." + k: v for k, v in state.items()}

        def checkpoint(dtype=None):
            cast = {k: v.to(dtype) if dtype is not None and v.is_floating_point() else v for k, v in module.items()}
            return {"epoch": 37, "state_dict": cast, "bce_best": np.float64(0.1234)}
        kinds = [
            ("checkpoint", False, lambda p: torch.save(checkpoint(), p)),
            ("legacy", False, lambda p: torch.save(state, p, _use_new_zipfile_serialization=False)),
            ("half", False, lambda p: torch.save(checkpoint(torch.float16), p)),
            ("bf16", False, lambda p: torch.save(checkpoint(torch.bfloat16), p)),
            ("safe", False, lambda p: safetensors.torch.save_file(state, p, metadata={"format": "pt"})),
            ("safe_half", False, lambda p: safetensors.torch.save_file({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, p)),
            ("timm_pth", True, lambda p: torch.save(timm_state, p)),
            ("timm_safe", True, lambda p: safetensors.torch.save_file(timm_state, p)),
        ]
        for kind, encoder, save in kinds:
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, f"{arch}_{kind}.bin")
                save(path)
                one(options.unmask, folder, arch, net, kind, path, encoder)
    print("FAILED" if problems else "all equal, bit for bit")
    sys.exit(1 if problems else 0)


main()
