"""What transformers says of the questions that fedtune asked: prompts and labels made anew from the data, float32. One JSON line.

    python witness.py mmlu MODEL MMLU_FILE < ids          # `subject/place` of test questions, one a line
    python witness.py perplexity MODEL ROWS_FILE < ids    # line numbers of rows (from 1), alpaca template, cut at --max-tokens
"""
import argparse, copy, json, os, sys, time
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ap = argparse.ArgumentParser()
ap.add_argument("what", choices=["mmlu", "perplexity"]); ap.add_argument("model"); ap.add_argument("data")
ap.add_argument("--shots", type=int, default=5); ap.add_argument("--max-tokens", type=int, default=512)
a = ap.parse_args()
torch.set_num_threads(int(os.environ.get("THREADS", os.cpu_count())))
tokenizer = AutoTokenizer.from_pretrained(a.model)
model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32).eval()
rows = [json.loads(line) for line in open(a.data, encoding="utf-8")]
wanted = [line.strip() for line in sys.stdin if line.strip()]

def encode(text):
    return tokenizer(text, add_special_tokens=False).input_ids

def log_likelihoods(ids):
    """Of each token but the first, given those before it."""
    logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].double()
    return logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]

def write(row, answer=False):
    return row["question"] + "".join(f"\n{letter}. {choice}" for letter, choice in zip("ABCD", row["choices"])) + "\nAnswer:" + (f" {'ABCD'[row['answer']]}\n\n" if answer else "")

begun_with = {}

def after(subject, ids):
    """Log-probabilities of what follows; the first question of a subject is read whole, the others after the cache of what they share with it."""
    if subject not in begun_with:
        begun_with[subject] = (ids, model(input_ids=torch.tensor([ids]), use_cache=True))
        return begun_with[subject][1].logits[0, -1].double().log_softmax(-1)
    first, out = begun_with[subject]
    n = next(i for i in range(len(ids)) if i == len(first) or ids[i] != first[i])
    cache = copy.deepcopy(out.past_key_values); cache.crop(n - len(first))
    return model(input_ids=torch.tensor([ids[n:]]), past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1].double().log_softmax(-1)

def mmlu(name):
    subject, place = name.split("/")
    own = [row for row in rows if row["subject"] == subject]
    shots = [row for row in own if row["split"] == "dev"][: a.shots]
    row = [row for row in own if row["split"] == "test"][int(place)]
    prompt = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n" + "".join(write(s, True) for s in shots) + write(row)
    start = [tokenizer.bos_token_id] + encode(prompt)
    whole = [[tokenizer.bos_token_id] + encode(f"{prompt} {letter}") for letter in "ABCD"]
    assert all(ids[: len(start)] == start for ids in whole)
    if all(len(ids) == len(start) + 1 for ids in whole):
        last = after(subject, start)
        scores = [round(last[ids[-1]].item(), 6) for ids in whole]
    else:
        scores = [round(log_likelihoods(ids)[len(start) - 1 :].sum().item(), 6) for ids in whole]
    best = max(range(4), key=lambda i: scores[i])
    return dict(id=name, letter="ABCD"[best], correct=int(best == row["answer"]), scores=scores)

INPUT = "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n### Input:\n{context}\n\n### Response:"
NO_INPUT = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n### Response:"

def perplexity(name):
    row = rows[int(name) - 1]
    prompt = [tokenizer.bos_token_id] + encode((INPUT if row["context"] else NO_INPUT).format(**row))
    ids = (prompt + encode(row["response"]) + [tokenizer.eos_token_id])[: a.max_tokens]
    losses = -log_likelihoods(ids)[len(prompt) - 1 :]
    return dict(id=name, nll=round(losses.sum().item(), 5), tokens=len(losses))

begun = time.perf_counter()
with torch.inference_mode():
    results = [(mmlu if a.what == "mmlu" else perplexity)(name) for name in wanted]
import transformers
print(json.dumps(dict(what=a.what, torch=torch.__version__, transformers=transformers.__version__, seconds=round(time.perf_counter() - begun, 2), results=results)))
