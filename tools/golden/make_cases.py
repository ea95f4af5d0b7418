"""Records one case for every architecture under every method that PyTorch, transformers and PEFT can show, by the functions of `goldens/make.py`.

Usage: python tools/golden/make_cases.py OUT [../shared/goldens/make.py]   (pip install torch transformers peft safetensors)
Then:  npm run golden -- OUT/cases --models OUT/models --record assets/checked.json
`full`, `bitfit` and `bottleneck` are plain PyTorch: all parameters train, or all biases, or layers behind hooks; their adapter folders are written in fedtune's own layout.
A pair that PEFT itself refuses is named and left out.
"""
import copy, importlib.util, json, os, sys
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from peft import (AdaLoraConfig, IA3Config, LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig,
                  VeraConfig, get_peft_model)

OUT = sys.argv[1]
SOURCE = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(__file__), "../../../shared/goldens/make.py")
ONLY = set(sys.argv[3].split(",")) if len(sys.argv) > 3 else None
os.environ["GOLDEN_ONLY"] = "none"
sys.argv = ["make.py", os.path.join(OUT, "cases"), os.path.join(OUT, "models")]
spec = importlib.util.spec_from_file_location("make", SOURCE)
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)

FUSED = {"gpt2": ["c_attn"], "bloom": ["query_key_value"], "gpt_neox": ["query_key_value"], "phi3": ["qkv_proj"]}
# What PEFT's own mapping names; a fused key-value product is scaled whole, as PEFT does.
IA3 = {"gpt2": (["c_attn", "mlp.c_proj"], ["mlp.c_proj"]), "bloom": (["query_key_value", "mlp.dense_4h_to_h"], ["mlp.dense_4h_to_h"]),
       "gpt_neox": (["query_key_value", "dense_4h_to_h"], ["dense_4h_to_h"]), "opt": (["q_proj", "k_proj", "fc2"], ["fc2"]),
       "phi3": (["qkv_proj", "down_proj"], ["down_proj"])}

def methods(arch):
    some = FUSED.get(arch, ["q_proj", "v_proj"])
    scaled, inputs = IA3.get(arch, (["k_proj", "v_proj", "down_proj"], ["down_proj"]))
    gpt2 = arch == "gpt2"
    common = dict(task_type="CAUSAL_LM")
    return {
        "lora": LoraConfig(**common, r=3, lora_alpha=7, target_modules=some, fan_in_fan_out=gpt2),
        "lora-all": LoraConfig(**common, r=2, lora_alpha=4, target_modules="all-linear", fan_in_fan_out=gpt2),
        "lora-bias": LoraConfig(**common, r=3, lora_alpha=7, target_modules=some, fan_in_fan_out=gpt2, bias="lora_only" if arch == "opt" else "all"),
        "dora": LoraConfig(**common, r=3, lora_alpha=7, target_modules=some, use_dora=True, fan_in_fan_out=gpt2),
        "vera": VeraConfig(**common, r=5, target_modules=some, fan_in_fan_out=gpt2),
        "adalora": AdaLoraConfig(**common, init_r=4, target_r=2, lora_alpha=6, total_step=100, orth_reg_weight=1e-12, target_modules=some, fan_in_fan_out=gpt2),
        "ia3": IA3Config(**common, target_modules=scaled, feedforward_modules=inputs, fan_in_fan_out=gpt2),
        "prompt": PromptTuningConfig(**common, num_virtual_tokens=4),
        "prefix": PrefixTuningConfig(**common, num_virtual_tokens=4),
        "prefix-projection": PrefixTuningConfig(**common, num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=20),
        "p-tuning": PromptEncoderConfig(**common, num_virtual_tokens=4, encoder_reparameterization_type="MLP", encoder_hidden_size=20),
    }

def base_model(arch, i):
    kw = dict(make.ARCH[arch]); mt = kw.pop("model_type"); kw.update(bos_token_id=1, eos_token_id=2)
    torch.manual_seed(500 + i)
    cfg = AutoConfig.for_model(mt, attn_implementation="eager", **kw)
    model = AutoModelForCausalLM.from_config(cfg).to(torch.float64)
    g = torch.Generator().manual_seed(900 + i)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 1: p.add_(0.2 * torch.randn(p.shape, generator=g, dtype=torch.float64))
            else: p.mul_(6.0 if "gemma" in arch else 3.0)
            p.copy_(p.to(torch.float32).to(torch.float64))
    return cfg, model

def save_model(cfg, model, path):
    m32 = AutoModelForCausalLM.from_config(cfg).to(torch.float32)
    m32.load_state_dict({k: v.float() for k, v in model.state_dict().items()}); m32.tie_weights()
    m32.save_pretrained(path)

def to_float32(folder):
    p = os.path.join(folder, "adapter_model.safetensors")
    save_file({k: make.f32(v) for k, v in load_file(p).items()}, p, metadata={"format": "pt"})
    readme = os.path.join(folder, "README.md")
    if os.path.exists(readme): os.remove(readme)

def peft_case(arch, name, config, model, i):
    pm = get_peft_model(copy.deepcopy(model), config, autocast_adapter_dtype=False).to(torch.float64)
    for n, p in pm.named_parameters():
        if "ranknum" in n: p.requires_grad_(False)  # a count, though PEFT holds it as a parameter
    make.randomise(pm, 1300 + i, 0.1)
    path = os.path.join(OUT, "cases", f"{arch}.{name}")
    adapter = os.path.join(path, "adapter")
    pm.save_pretrained(adapter); to_float32(adapter)
    data = make.batch(97, 40 + i)
    extra = dict(model=arch, method=name)
    if not config.is_prompt_learning:
        with torch.no_grad():
            with pm.disable_adapter(): extra["base_loss"] = make.loss_of(make.no_dropout(pm)(**data), data).item()
            if name != "adalora": extra["merged_loss"] = make.loss_of(make.no_dropout(copy.deepcopy(pm).merge_and_unload())(**data), data).item()
    if name == "lora-bias": extra.pop("base_loss")  # PEFT leaves trained biases in place when it switches an adapter off
    make.write_case(path, pm, data, extra, sgd=name == "lora-bias")  # as for full

def plain_case(arch, method, model, i):
    m = copy.deepcopy(model)
    # The gradient of OPT's key biases is 0 (softmax does not see what all keys share): relative differences of it say nothing.
    zero = arch == "opt"
    trained = {n: p for n, p in m.named_parameters() if (method == "full" or n.endswith("bias")) and not (zero and n.endswith("k_proj.bias"))}
    settings = {} if not zero else {"freeze": ".*k_proj\\.bias"} if method == "full" else {"biases": ".*(?<!k_proj)\\.bias"}
    if not trained: return print("LEFT OUT", arch, method, "the model has no biases")
    data = make.batch(97, 40 + i)
    with torch.no_grad():
        extra = dict(model=arch, method=method, base_loss=make.loss_of(make.no_dropout(m)(**data), data).item())
        g = torch.Generator().manual_seed(1300 + i)
        for n, p in m.named_parameters():
            p.requires_grad_(n in trained)
            # Away from the base, so that a tensor that is not put in place shows.
            if n in trained: p.copy_((p + 0.02 * torch.randn(p.shape, generator=g, dtype=torch.float64)).to(torch.float32).to(torch.float64))
        extra["merged_loss"] = make.loss_of(m(**data), data).item()
    path = os.path.join(OUT, "cases", f"{arch}.{method}")
    adapter = os.path.join(path, "adapter"); os.makedirs(adapter, exist_ok=True)
    save_file({n: make.f32(p) for n, p in trained.items()}, os.path.join(adapter, "adapter_model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(adapter, "adapter_config.json"), "w") as f:
        json.dump({"peft_type": f"FEDTUNE_{method.upper()}", "base_model_name_or_path": arch, "settings": settings}, f)
    # SGD: AdamW would turn what is 0 but for rounding (some of a fused key bias) into whole steps.
    make.write_case(path, m, make.batch(97, 40 + i), dict(model=arch, method=method), sgd=True)

# The modules whose outputs join the residual stream: of the attention, of the feed-forward.
JOINING = {"gemma2": ("post_attention_layernorm", "post_feedforward_layernorm"), "gemma3_text": ("post_attention_layernorm", "post_feedforward_layernorm"),
           "gpt2": ("attn.c_proj", "mlp.c_proj"), "opt": ("self_attn.out_proj", "fc2"), "bloom": ("self_attention.dense", "mlp.dense_4h_to_h"),
           "gpt_neox": ("attention.dense", "mlp.dense_4h_to_h")}

class Bottleneck(torch.nn.Module):
    """Houlsby et al. 2019: h + W_up gelu(W_down h + b_down) + b_up."""
    def __init__(self, width, size):
        super().__init__()
        self.down, self.up = torch.nn.Linear(width, size), torch.nn.Linear(size, width)
    def forward(self, h): return h + self.up(torch.nn.functional.gelu(self.down(h)))

def bottleneck_case(arch, placement, model, i):
    m = copy.deepcopy(model).requires_grad_(False)
    kinds = ["attention", "feed_forward"] if placement == "houlsby" else ["feed_forward"]
    blocks = next(x for x in m.modules() if isinstance(x, torch.nn.ModuleList) and len(x) == m.config.num_hidden_layers)
    m.add_module("layers", torch.nn.ModuleList(torch.nn.ModuleDict({k: Bottleneck(m.config.hidden_size, 5) for k in kinds}) for _ in blocks).to(torch.float64))
    data = make.batch(97, 40 + i)
    with torch.no_grad(): base_loss = make.loss_of(make.no_dropout(m)(**data), data).item()
    for block, adapters in zip(blocks, m.layers):
        names = dict(zip(["attention", "feed_forward"], JOINING.get(arch, ("self_attn.o_proj", "mlp.down_proj"))))
        for kind, adapter in adapters.items(): block.get_submodule(names[kind]).register_forward_hook(lambda _m, _x, y, a=adapter: a(y))
    make.randomise(m, 1500 + i, 0.3)
    path = os.path.join(OUT, "cases", f"{arch}.bottleneck-{placement}")
    adapter = os.path.join(path, "adapter"); os.makedirs(adapter, exist_ok=True)
    save_file({n: make.f32(p) for n, p in m.named_parameters() if p.requires_grad}, os.path.join(adapter, "adapter_model.safetensors"), metadata={"format": "pt"})
    settings = dict(placement=placement, size=5, activation="gelu")
    with open(os.path.join(adapter, "adapter_config.json"), "w") as f: json.dump({"peft_type": "FEDTUNE_BOTTLENECK", "base_model_name_or_path": arch, "settings": settings}, f)
    make.write_case(path, m, data, dict(model=arch, method="bottleneck", base_loss=base_loss))

for i, arch in enumerate(make.ARCH):
    cfg, model = base_model(arch, i)
    save_model(cfg, model, os.path.join(OUT, "models", arch))
    for j, (name, config) in enumerate(methods(arch).items()):
        if ONLY and name not in ONLY: continue
        try: peft_case(arch, name, config, model, 20 * i + j)
        except Exception as e: print("LEFT OUT", arch, name, type(e).__name__, str(e).replace("\n", " ")[:200])
    for method in ["full", "bitfit"]:
        if not ONLY or method in ONLY: plain_case(arch, method, model, 20 * i + 15)
    if not ONLY or "bottleneck" in ONLY: bottleneck_case(arch, "houlsby" if i % 2 == 0 else "pfeiffer", model, 20 * i + 16)
