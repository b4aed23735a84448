#!/usr/bin/env python3
"""Is every tensor of mtcnn.h5 equal, bit for bit, to what torch.load reads?

usage: compare_mtcnn_weights.py mtcnn.h5 FOLDER        FOLDER holds pnet.pt, rnet.pt, onet.pt; needs: torch, h5py
"""
import sys

import h5py
import torch

file = h5py.File(sys.argv[1], "r")
names = set()
for net in ("pnet", "rnet", "onet"):
    for key, tensor in torch.load(f"{sys.argv[2]}/{net}.pt", map_location="cpu").items():
        name = f"{net}.{key}"
        names.add(name)
        ours = file[name]
        assert ours.dtype == "<f4" and ours.shape == tuple(tensor.shape), name
        assert ours[...].tobytes() == tensor.contiguous().numpy().tobytes(), name
assert set(file.keys()) == names, set(file.keys()) ^ names
print(f"{len(names)} tensors, {sum(file[n].size for n in names)} numbers: equal; attributes: {dict(file.attrs)}")
