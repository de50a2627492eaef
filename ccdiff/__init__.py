"""Class-conditioned diffusion on MNIST-like images, in notebooks you can read

Every name in `__all__` can be imported from here and stays here. It is loaded when it is first used, so `import ccdiff` takes no time.
"""

__version__ = "0.2.0"

import importlib

_names = {
    "core": ["CcdiffError"],
    "data": ["ImageSet", "load_images", "image_grid"],
    "model.unet": ["ClassConditionedUnet"],
    "model.schedulers": ["make_scheduler"],
    "model.pipeline": ["sample_images"],
    "model.samples": ["SampleSet"],
    "folders": ["verify_checkpoint"],
    "checkpoint": ["ClassConditionedPipeline", "load_checkpoint"],
    "track.record": ["File", "Histogram", "fetch_metrics", "fetch_series", "fetch_runs_table", "list_runs"],
    "track.run": ["Run"],
    "track.report": ["report"],
    "watcher": ["TorchWatcher"],
    "train.config": ["TrainConfig"],
    "train.callbacks": ["Callback", "HeldOut", "EarlyStopping"],
    "train.trainer": ["Trainer"],
    "train.lr_find": ["lr_find"],
    "evaluate.metrics": ["measure"],
    "evaluate.judge": ["LocalJudge"],
    "evaluate.gemini": ["GeminiJudge"],
    "evaluate.evaluator": ["Evaluator", "compare"],
    "notebook.pictures": ["class_sheet", "denoising", "between_seeds", "between_classes"],
    "notebook.widgets": ["TrainingPanel", "DigitStudio", "RunComparer", "WatcherExplorer"],
}
_home = {name: module for module, names in _names.items() for name in names}
__all__ = sorted(_home)


def __getattr__(name):
    if name not in _home:
        raise AttributeError(f"module 'ccdiff' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ccdiff.{_home[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
