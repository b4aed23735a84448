#!/usr/bin/env python3
"""Makes data/optim.tsv: losses, optimiser steps and learning rates as PyTorch computes them. Needs torch. usage: make_optim_golden.py [OUT]

Lines: a name, then numbers, tab separated, in the order in which test_optim.c reads them. Computed in f64 where the definition is compared, in f32 where PyTorch's own rounding is (optimisers)."""
import sys, pathlib
import torch

torch.manual_seed(7)
out = open(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "data/optim.tsv", "w")


def line(name, *values):
    flat = []
    for v in values:
        flat += v.flatten().tolist() if torch.is_tensor(v) else [v]
    print(name, *(f"{float(v):.9g}" for v in flat), sep="\t", file=out)


def focal(x, y, gamma):
    """The reference's FocalLoss, element by element."""
    p = torch.sigmoid(x).clamp(1e-8, 1 - 1e-8)
    t = y.clamp(1e-8, 1 - 1e-8)
    pt = (1 - t) * (1 - p) + t * p
    return -(1 - pt) ** gamma * torch.log(pt)


for bce, foc, gamma, smoothing, k in ((1, 0, 2, 0, 0), (1, 0, 2, 0.01, 0), (0, 1, 2, 0, 0), (0.5, 2, 3, 0.01, 0), (1, 0, 2, 0.01, 3)):
    n = 13
    x = (torch.randn(n, dtype=torch.float64) * 3).float().double().requires_grad_()
    y = torch.tensor([1., 0, 1, 1, 0, 0, 1, 0.3, 0.8, 0, 1, 1, 0], dtype=torch.float64).float().double()
    w = torch.tensor([1., 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1], dtype=torch.float64)
    s = y.clamp(smoothing, 1 - smoothing)
    l = bce * torch.nn.functional.binary_cross_entropy_with_logits(x, s, reduction="none") + foc * focal(x, s, gamma)
    parts = []
    for idx in (((y > 0.5) & (w > 0)), ((y <= 0.5) & (w > 0))):
        c = l[idx]
        if k:
            c = torch.topk(c, k=min(k, len(c)), sorted=False)[0]
        parts.append(c.mean())
    loss = (parts[0] + parts[1]) / 2
    loss.backward()
    line("loss", n, bce, foc, gamma, smoothing, k, loss.item(), parts[0].item(), parts[1].item())
    line("logits", x.detach())
    line("targets", y)
    line("weights", w)
    line("d", x.grad)

kinds = {
    "SGD": [dict(momentum=0.9, nesterov=True, weight_decay=1e-4, lr=0.01), dict(momentum=0.9, weight_decay=1e-2, lr=0.1), dict(weight_decay=0.1, lr=0.1)],
    "AdamW": [dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2)],
    "RMSprop": [dict(lr=1e-2, alpha=0.9, eps=1e-3, weight_decay=1e-5, momentum=0.9), dict(lr=1e-2, alpha=0.99, eps=1e-8)],
}
for name, cases in kinds.items():
    for c in cases:
        n, steps = 21, 12
        p = torch.randn(n).requires_grad_()
        o = getattr(torch.optim, name)([p], foreach=False, **c)
        b = c.get("betas", (0.9, 0.999))
        line("optim", {"SGD": 0, "AdamW": 1, "RMSprop": 2}[name], c["lr"], c.get("momentum", 0), c.get("nesterov", False), c.get("weight_decay", 0), b[0], b[1], c.get("alpha", 0.99), c.get("eps", 1e-8), n, steps, 1.0)
        line("start", p.detach())
        for i in range(steps):
            p.grad = torch.randn(n) * (3 if i == 4 else 0.3)
            line("grad", p.grad)
            norm = torch.nn.utils.clip_grad_norm_([p], 1.0)
            o.step()
            line("norm", norm)
        line("end", p.detach())

base = 0.1


def rates(make, steps=12):
    o = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    s = make(o)
    r = []
    for _ in range(steps):
        r.append(o.param_groups[0]["lr"])
        o.step()
        s.step()
    return r


L = torch.optim.lr_scheduler
line("step", *rates(lambda o: L.StepLR(o, step_size=3, gamma=0.5)))
line("multistep", *rates(lambda o: L.MultiStepLR(o, milestones=[2, 5, 9], gamma=0.3)))
line("cosine", *rates(lambda o: L.CosineAnnealingLR(o, T_max=12, eta_min=0.01)))
line("exponential", *rates(lambda o: L.ExponentialLR(o, gamma=0.9)))
line("linear", *rates(lambda o: L.LambdaLR(o, lambda t: t * -0.05 + 1)))
line("poly", *(base * (1 - t / 10) ** 0.9 if t < 10 else 0 for t in range(12)))
