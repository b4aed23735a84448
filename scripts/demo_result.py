#!/usr/bin/env python3
"""The demo's last words: what the ensemble is worth, from what unmask evaluate --json wrote. usage: demo_result.py ENSEMBLE.json BASELINE.json SECONDS [--judge]

--judge: exit code 1 where nothing was learned: an AUC below 0.75, or a log-loss no better than guessing."""
import json, sys

GUESSING = 0.6931


def read(path):
    with open(path, encoding="utf-8") as f:
        report = json.load(f)
    return next(judge for judge in report["judges"] if judge["name"] == report["main"])["of_videos"], report["videos"]


(net, videos), (base, _) = read(sys.argv[1]), read(sys.argv[2])
print(f"\n{videos} videos of a person that nobody was trained on:\n\n{'':34}    AUC  log-loss  right at 0.5")
for name, m in (("guessing", {"auc": 0.5, "log_loss": GUESSING, "accuracy": 0.5}), ("sharpness and colour, regression", base), ("the ensemble", net)):
    print(f"{name:34}  {m['auc']:5.3f}     {m['log_loss']:5.3f}        {100 * m['accuracy']:4.0f} %")
nothing = "--judge" in sys.argv[4:] and not (net["auc"] >= 0.75 and net["log_loss"] < GUESSING)
if nothing:
    print("demo: the ensemble learned nothing: AUC below 0.75, or a log-loss no better than guessing", file=sys.stderr)
print(f"\nRESULT videos={videos} auc={net['auc']:.3f} logloss={net['log_loss']:.3f} baseline_auc={base['auc']:.3f} seconds={sys.argv[3]}", flush=True)
sys.exit(nothing)
