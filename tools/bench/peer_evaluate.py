"""A batch-of-one loop in transformers over prompts that `fedtune evaluate` wrote: one line of JSON.

    python peer_evaluate.py --what mmlu --model ../../../shared/models/minimind2-small --answers evaluation/mmlu.jsonl --limit 60

mmlu: one pass over each prompt, the four letters' logits compared. gsm8k: greedy text of at most --new-tokens, ended by the end
token or a next question; `generate()` looks after more, a bare loop over the cache does not: the faster of the two
is kept (--ways takes one only).
Loading and one warm-up question are not timed. `same` is the share of questions with fedtune's answer.
"""
import argparse, json, os, time
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ap = argparse.ArgumentParser()
ap.add_argument("--what", required=True, choices=["mmlu", "gsm8k"]); ap.add_argument("--model", required=True); ap.add_argument("--answers", required=True)
ap.add_argument("--limit", type=int, default=10**9); ap.add_argument("--new-tokens", type=int, default=256)
ap.add_argument("--ways", default="generate,loop")
ap.add_argument("--mode", default="fp32", choices=["fp32", "bf16"])
a = ap.parse_args()
torch.set_num_threads(int(os.environ.get("THREADS", os.cpu_count())))
tokenizer = AutoTokenizer.from_pretrained(a.model)
model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32 if a.mode == "fp32" else torch.bfloat16).eval()
lines = [json.loads(line) for line in open(a.answers, encoding="utf-8")]
# Every n-th, so that each part of the file is met.
lines = lines[:: max(1, len(lines) // a.limit)][: a.limit]
letters = [tokenizer(f" {letter}", add_special_tokens=False).input_ids[-1] for letter in "ABCD"]
STOP = "\nQ:"

def encode(prompt):
    return torch.tensor([[tokenizer.bos_token_id] + tokenizer(prompt, add_special_tokens=False).input_ids])

def choose(prompt):
    logits = model(input_ids=encode(prompt), logits_to_keep=1).logits[0, -1]
    return "ABCD"[int(logits[letters].argmax())]

def by_generate(prompt):
    ids = encode(prompt)
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=a.new_tokens, stop_strings=[STOP], tokenizer=tokenizer, pad_token_id=0)
    return tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True).split(STOP)[0]

def by_loop(prompt):
    out = model(input_ids=encode(prompt), use_cache=True, logits_to_keep=1)
    new = []
    while len(new) < a.new_tokens:
        token = int(out.logits[0, -1].argmax())
        if token == tokenizer.eos_token_id: break
        new.append(token)
        # Only the end can complete the stop string.
        if STOP in tokenizer.decode(new[-8:]): break
        if len(new) < a.new_tokens: out = model(input_ids=torch.tensor([[token]]), past_key_values=out.past_key_values, use_cache=True)
    return tokenizer.decode(new, skip_special_tokens=True).split(STOP)[0]

def said(line):
    return line["parsed"] if a.what == "mmlu" else line["outputs"][0]["text"]

def run(way):
    way(lines[0]["prompt"])
    t0, p0 = time.perf_counter(), time.process_time()
    answers = [way(line["prompt"]) for line in lines]
    return time.perf_counter() - t0, time.process_time() - p0, sum(x == said(line) for x, line in zip(answers, lines)) / len(lines)

with torch.inference_mode():
    results = {name: run(way) for name, way in (dict(choose=choose) if a.what == "mmlu" else {k: v for k, v in dict(generate=by_generate, loop=by_loop).items() if k in a.ways.split(",")}).items()}
name = min(results, key=lambda n: results[n][0]); seconds, processor, same = results[name]
print(json.dumps(dict(peer="transformers", torch=torch.__version__, model=os.path.basename(a.model.rstrip("/")), mode=a.mode, what=a.what, loop=name, asked=len(lines), seconds=round(seconds, 3),
    processorSeconds=round(processor, 3), same=round(same, 4))))
