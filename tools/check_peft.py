"""Loads a base model and a PEFT adapter and prints their logits as JSON; the other half of tools/check-peft.ts.

stdin:  {"model": folder, "adapter": folder, "prompts": [[token id, ...], ...]}
stdout: {"versions": {...}, "logits": [float32 bytes of [T, V] in base64, ...], "base": [the same without the adapter, ...]}
"""
import base64
import json
import sys

import peft
import torch
import transformers

request = json.load(sys.stdin)
transformers.utils.logging.set_verbosity_error()
base = transformers.AutoModelForCausalLM.from_pretrained(request["model"], dtype=torch.float32)
model = peft.PeftModel.from_pretrained(base, request["adapter"]).float().eval()


def logits(prompt):
    out = model(input_ids=torch.tensor([prompt])).logits[0]  # [T, V]
    return base64.b64encode(out.contiguous().numpy().astype("<f4").tobytes()).decode()


with torch.no_grad():
    adapted = [logits(prompt) for prompt in request["prompts"]]
    with model.disable_adapter():
        plain = [logits(prompt) for prompt in request["prompts"]]
versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
json.dump({"versions": versions, "logits": adapted, "base": plain}, sys.stdout)
