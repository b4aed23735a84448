"""train_peer.py: PyTorch's side of training, as compare_train.py, make_train_golden.py and bench_train_step.py use it: timm's network in training mode, mean binary cross-entropy, picture i labelled i % 2."""
import numpy as np
import torch

import classifier_peer as peer


def build(arch, seed, drop_path=0.0):
    """The network with the parameters of integer arithmetic (classifier_peer.fill), in training mode, channels_last."""
    net = peer.fill(peer.build(arch), seed)
    return net.to(memory_format=torch.channels_last).train()


def to_batch(images, dtype=torch.float32):
    return peer.to_input(images).to(dtype).contiguous(memory_format=torch.channels_last)


def loss_of(net, x, first=0):
    """(mean loss, logits)."""
    z = net(x)[:, 0]
    y = (torch.arange(len(z)) + first) % 2
    return torch.nn.functional.binary_cross_entropy_with_logits(z, y.to(z.dtype)), z


def step(net, x, first=0):
    """Forward, loss, backward: the loss and the logits."""
    for p in net.parameters():
        p.grad = None
    loss, z = loss_of(net, x, first)
    loss.backward()
    return float(loss.detach()), z.detach().numpy().astype(np.float64)


def grads(net):
    """(name, gradient as f64) in the order of classifier_peer.parameters; running values have None."""
    named = dict(net.named_parameters())
    return [(name, named[name].grad.numpy().astype(np.float64) if name in named else None) for name, _ in peer.parameters(net)]


def optimiser(net, kind, lr):
    params = [p for n, p in net.named_parameters() if not n.startswith("encoder.classifier.")]
    if kind == "adamw":
        return torch.optim.AdamW(params, lr=lr, weight_decay=1e-2)
    return torch.optim.SGD(params, lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-4)


def train(net, images, batch, steps, kind, lr):
    """Losses of `steps` steps over the pictures in turn, as train_dump does."""
    opt, losses = optimiser(net, kind, lr), []
    for i in range(steps):
        at = i * batch % (len(images) - batch + 1)
        losses.append(step(net, to_batch(images[at:at + batch]), at)[0])
        opt.step()
    return np.array(losses)


def momentum(net):
    """The momenta of all batch norms."""
    return sorted({m.momentum for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)})
