"""transformers with its cache on the work of `fedtune bench generate`: one line of JSON.

    python peer_generate.py --model ../../../shared/models/minimind2-small --batch 16 --tokens 128 --new-tokens 128 --mode fp32 [--compile]

Prompts of --tokens random tokens, --new-tokens taken greedily, no end token. Prefill is the pass over the prompts up to the
first new tokens; decode is all steps after it. `generate()` looks after stopping and sampling, a bare loop does not: the faster
of the two is kept (`loop`). Compiled: the static cache that transformers compiles by itself.
"""
import argparse, json, os, statistics, time
import torch
from transformers import AutoModelForCausalLM

ap = argparse.ArgumentParser()
ap.add_argument("--model", required=True); ap.add_argument("--batch", type=int, default=1); ap.add_argument("--tokens", type=int, default=128)
ap.add_argument("--new-tokens", type=int, default=128); ap.add_argument("--repeats", type=int, default=3); ap.add_argument("--warmup", type=int, default=1)
ap.add_argument("--mode", default="fp32", choices=["fp32", "bf16"]); ap.add_argument("--compile", action="store_true")
a = ap.parse_args()
torch.set_num_threads(int(os.environ.get("THREADS", os.cpu_count()))); torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32 if a.mode == "fp32" else torch.bfloat16).eval()
ids = torch.randint(3, model.config.vocab_size, (a.batch, a.tokens))
settings = dict(do_sample=False, eos_token_id=None, pad_token_id=0, **(dict(cache_implementation="static") if a.compile else {}))
if a.compile: model.forward = torch.compile(model.forward, dynamic=False)

def by_generate():
    t0 = time.perf_counter()
    model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, min_new_tokens=1, **settings)
    t1 = time.perf_counter()
    model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=a.new_tokens, min_new_tokens=a.new_tokens, **settings)
    return t1 - t0, time.perf_counter() - t1 - (t1 - t0)

def by_loop():
    t0 = time.perf_counter()
    out = model(input_ids=ids, use_cache=True, logits_to_keep=1); token = out.logits[:, -1].argmax(-1, keepdim=True)
    t1 = time.perf_counter()
    for _ in range(a.new_tokens - 1):
        out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True); token = out.logits[:, -1].argmax(-1, keepdim=True)
    return t1 - t0, time.perf_counter() - t1

best = {}
with torch.inference_mode():
    for name, way in dict(generate=by_generate, **({} if a.compile else dict(loop=by_loop))).items():
        for _ in range(a.warmup): way()
        runs = [way() for _ in range(a.repeats)]
        best[name] = tuple(statistics.median(r[i] for r in runs) for i in (0, 1))
name = min(best, key=lambda n: best[n][1]); prefill, decode = best[name]
print(json.dumps(dict(peer="transformers", torch=torch.__version__, model=os.path.basename(a.model.rstrip("/")), mode=a.mode, compile=a.compile, loop=name, batch=a.batch, tokens=a.tokens, new_tokens=a.new_tokens,
    prefill_s=round(prefill, 4), decode_s=round(decode, 4), prefill_tokens_per_s=round(a.batch * a.tokens / prefill, 1), decode_tokens_per_s=round(a.batch * (a.new_tokens - 1) / decode, 1))))
