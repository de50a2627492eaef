"""Class-conditioned diffusion on MNIST-like images, in notebooks you can read

Every name below is loaded when it is first asked for, so that `import ccdiff` stays quick.
"""

__version__ = "0.1.0"

import os as _os

if "OMP_WAIT_POLICY" not in _os.environ:  # read when torch is loaded: threads that wait on a busy core give it up soon (benchmarks/throughput)
    _os.environ.setdefault("GOMP_SPINCOUNT", "5000")

_homes = {
    "core": ("CcdiffError",),
    "data": ("ImageSet", "load_images"),
    "model.unet": ("ClassConditionedUnet",),
    "model.pipeline": ("ClassConditionedPipeline",),
    "notebook.pictures": ("class_sheet", "denoising", "between_seeds", "between_classes"),
    "track.run": ("Run", "Histogram", "File"),
    "watcher": ("TorchWatcher",),
    "train.trainer": ("Trainer", "TrainConfig", "config_of_run"),
    "evaluate.judge": ("LocalJudge",),
    "evaluate.gemini": ("GeminiJudge",),
    "evaluate.evaluator": ("Evaluator", "compare"),
    "notebook.widgets": ("TrainingPanel", "DigitStudio", "RunComparer", "WatcherExplorer"),
}
_home_of = {name: home for home, names in _homes.items() for name in names}
__all__ = sorted(_home_of)


def __getattr__(name):
    if name not in _home_of:
        raise AttributeError(f"module 'ccdiff' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"ccdiff.{_home_of[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(set(globals()) | set(__all__))
