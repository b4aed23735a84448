#!/usr/bin/env python3
"""Writes tests/golden/data/torch_{legacy,zip}.pt: a checkpoint in the shape of real ones, as torch itself saves it.

usage: make_torch_files.py OUTDIR        needs: torch (made with 2.15)
tests/unit/test_torch_file.c expects exactly these values.
"""
import collections
import sys

import torch

base = torch.arange(24, dtype=torch.float32)
model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
with torch.no_grad():
    model[0].weight.copy_(torch.tensor([0.5, -0.25]).view(2, 1, 1, 1))
    model[0].bias.copy_(torch.tensor([1.0, 2.0]))
    model[1].num_batches_tracked.fill_(7)

checkpoint = {
    "epoch": 41,
    "bce_best": 0.125,
    "name": "b0",
    "half": True,
    "nothing": None,
    "state_dict": collections.OrderedDict(("module." + k, v) for k, v in model.state_dict().items()),
    "module": model.state_dict(),  # the same storages again, and torch's own OrderedDict with its _metadata
    "views": {
        "whole": base.view(2, 3, 4),
        "turned": base.view(2, 3, 4).permute(2, 0, 1),
        "part": base[5:13:2],
        "point": torch.tensor(3.5),
        "none": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.tensor([1.5, -2.5])),
    },
    "types": [
        torch.tensor([1.0, -2.0, 65504.0, 5.9604644775390625e-08, float("inf")], dtype=torch.float16),
        torch.tensor([1.0, -2.0, 3.140625], dtype=torch.bfloat16),
        torch.tensor([0.1, -1e300], dtype=torch.float64),
        torch.tensor([-1, 1 << 40], dtype=torch.int64),
        torch.tensor([-5], dtype=torch.int32),
        torch.tensor([-6], dtype=torch.int16),
        torch.tensor([-7], dtype=torch.int8),
        torch.tensor([200], dtype=torch.uint8),
        torch.tensor([True, False]),
    ],
}
torch.save(checkpoint, sys.argv[1] + "/torch_zip.pt")
torch.save(checkpoint, sys.argv[1] + "/torch_legacy.pt", _use_new_zipfile_serialization=False)
