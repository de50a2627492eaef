"""What share of a run's samples does a classifier of real digits take for the digit asked for?  agreement.py RUN@STEP LEAST"""
import sys

import torch
from sklearn.svm import SVC

from ccdiff import ClassConditionedPipeline, load_images
from ccdiff.folders import resolve_checkpoint

source, least = sys.argv[1], float(sys.argv[2])
train, test = load_images("digits"), load_images("digits", "test")
pixels = lambda images: images.flatten(1) / 255
judge = SVC(C=10).fit(pixels(train.images), train.labels)
held_out = judge.score(pixels(test.images), test.labels)
pipeline = ClassConditionedPipeline.from_pretrained(resolve_checkpoint(source) / "pipeline")
asked = torch.arange(10).repeat_interleave(20)
drawn = pipeline(asked, num_inference_steps=10, guidance_scale=1.3, guidance_interval=(0.2, 0.8), seed=1, show_progress=False).images
share = (torch.from_numpy(judge.predict(pixels(drawn.mul(255).round()))) == asked).float().mean().item()
print(f"{share:.1%} of {len(asked)} samples; the classifier reads {held_out:.1%} of {len(test)} held-out digits")
sys.exit(0 if share >= least and held_out >= 0.97 else f"less than {least:.0%}")
