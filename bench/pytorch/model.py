"""The #2102 architecture in PyTorch, as a peer to measure moec against (never a dependency of it).

Tensor names are moec's, so a checkpoint or a parity case loads as it is. `python model.py CASE` compares with a parity case. plain.py has the other
architectures; tests/parity/make.py makes moec's own parity cases with both.
A mixture runs only the rows that an expert gets (index_select per expert), which is the fast way to write it in PyTorch.
"""
import json
import math
import sys

import torch
import torch.nn.functional as F
from torch import nn


def rms_norm(x):
    return F.rms_norm(x, (x.size(-1),), eps=torch.finfo(torch.float32).eps)


class Rotary(nn.Module):
    def __init__(self, dims, base):
        super().__init__()
        self.dims = dims
        self.register_buffer("frequencies", base ** (-torch.arange(0, dims, 2).float() / dims), persistent=False)

    def forward(self, x):  # [B, heads, T, head_dim]
        angle = torch.outer(torch.arange(x.size(2), device=x.device).float(), self.frequencies)
        c, s = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        half = self.dims // 2
        x1, x2, rest = x[..., :half], x[..., half:self.dims], x[..., self.dims:]
        return torch.cat((x1 * c + x2 * s, x2 * c - x1 * s, rest), dim=-1)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv_heads = c["num_heads"], c["num_kv_heads"]
        d, self.head_dim = c["model_dim"], c["model_dim"] // c["num_heads"]
        kv = self.kv_heads * self.head_dim
        self.c_q, self.c_k = nn.Linear(d, d, bias=False), nn.Linear(d, kv, bias=False)
        self.c_v, self.proj = nn.Linear(d, kv, bias=False), nn.Linear(d, d, bias=False)
        self.q_gain = nn.Parameter(torch.full((self.heads,), float(c["qk_gain_init"])))
        self.rotary = Rotary(min(16, self.head_dim), c["rope_base"])

    def split(self, x, heads):
        return x.view(x.size(0), x.size(1), heads, self.head_dim).transpose(1, 2)

    def forward(self, x):
        q, k = self.split(self.c_q(x), self.heads), self.split(self.c_k(x), self.kv_heads)
        v = self.split(self.c_v(x), self.kv_heads)
        q = self.rotary(rms_norm(q)) * self.q_gain.to(q.dtype)[None, :, None, None]
        k = self.rotary(rms_norm(k))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.heads != self.kv_heads)
        unit = F.normalize(v, dim=-1).repeat_interleave(self.heads // self.kv_heads, dim=1)
        y = y - (y * unit).sum(-1, keepdim=True) * unit
        return self.proj(y.transpose(1, 2).reshape(x.shape))


def leaky_relu2(x):
    return F.leaky_relu(x, 0.5).square()


class MLP(nn.Module):
    def __init__(self, d, hidden):
        super().__init__()
        self.fc, self.proj = nn.Linear(d, hidden, bias=False), nn.Linear(hidden, d, bias=False)

    def forward(self, x):
        return self.proj(leaky_relu2(self.fc(x)))


class MoE(nn.Module):
    def __init__(self, d, hidden, experts, top_k):
        super().__init__()
        self.top_k, self.aux = top_k, 0.0
        self.router = nn.Linear(d, experts, bias=False)
        self.experts_fc = nn.ModuleList(nn.Linear(d, hidden, bias=False) for _ in range(experts))
        self.experts_proj = nn.ModuleList(nn.Linear(hidden, d, bias=False) for _ in range(experts))

    def forward(self, x):
        flat, experts = x.reshape(-1, x.size(-1)), len(self.experts_fc)
        with torch.autocast("cpu", enabled=False):
            probs = F.softmax(flat.float() @ self.router.weight.t(), dim=-1)
        gate, chosen = probs.topk(self.top_k, dim=-1)
        if self.top_k > 1:
            gate = gate / gate.sum(-1, keepdim=True)
        share = F.one_hot(chosen[:, 0], experts).float().mean(0)
        self.aux = experts * (share * probs.mean(0)).sum()
        out = torch.zeros_like(flat)
        for e in range(experts):
            token, choice = (chosen == e).nonzero(as_tuple=True)
            y = self.experts_proj[e](leaky_relu2(self.experts_fc[e](flat[token])))
            out = out.index_add(0, token, (y * gate[token, choice, None]).to(out.dtype))
        return out.view_as(x)


class Block(nn.Module):
    def __init__(self, c, layer):
        super().__init__()
        d, hidden = c["model_dim"], int(c["mlp_mult"] * c["model_dim"])
        self.attn = Attention(c)
        moe = layer in c["moe_layers"]
        self.mlp = MoE(d, hidden, c["moe_num_experts"], c.get("moe_top_k", 1)) if moe else MLP(d, hidden)
        self.attn_scale, self.mlp_scale = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))
        self.resid_mix = nn.Parameter(torch.stack((torch.ones(d), torch.zeros(d))))
        self.smear_w = nn.Parameter(torch.zeros(c["gate_window"]))
        self.scale, self.parallel = 1 / math.sqrt(layer + 1), layer >= c["parallel_start_layer"]

    def forward(self, x, x0):
        mix = self.resid_mix.to(x.dtype)
        x = mix[0] * x + mix[1] * x0
        w = self.smear_w.numel()
        head = x[..., :w]
        previous = F.pad(head[:, :-1], (0, 0, 1, 0))
        x = torch.cat((head + torch.sigmoid(self.smear_w).to(x.dtype) * (previous - head), x[..., w:]), dim=-1)
        n = rms_norm(x) * self.scale
        a_scale, m_scale = self.attn_scale.to(x.dtype), self.mlp_scale.to(x.dtype)
        if self.parallel:
            return x + a_scale * self.attn(n) + m_scale * self.mlp(n)
        x = x + a_scale * self.attn(n)
        return x + m_scale * self.mlp(rms_norm(x) * self.scale)


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, d, layers = c, c["model_dim"], c["num_layers"]
        self.tok_emb = nn.Embedding(c["vocab_size"], d)
        self.bigram_emb = nn.Embedding(c["bigram_buckets"], c["bigram_dim"]) if c["bigram_buckets"] else None
        self.bigram_proj = nn.Linear(c["bigram_dim"], d, bias=False) if c["bigram_buckets"] else None
        self.blocks = nn.ModuleList(Block(c, i) for i in range(layers))
        looped = list(range(c["loop_start"])) + list(range(c["loop_start"], c["loop_end"] + 1)) * (c["num_loops"] + 1)
        looped += list(range(c["loop_end"] + 1, layers))
        longest = looped if c["num_loops"] else list(range(layers))
        self.path = looped if c.get("looping") and c["num_loops"] else list(range(layers))
        rows = len(longest) // 2
        self.skip_weights = nn.Parameter(torch.ones(rows, d))
        self.skip_gates = nn.Parameter(torch.zeros(rows, d))
        self.lm_head = None if c["tie_embeddings"] else nn.Linear(d, c["vocab_size"], bias=False)

    def hidden(self, ids):
        x = self.tok_emb(ids)
        if self.bigram_emb is not None:
            previous = F.pad(ids[:, :-1], (1, 0))
            x = x + self.bigram_proj(self.bigram_emb((previous * 31 + ids) % self.bigram_emb.num_embeddings))
        x = x0 = rms_norm(x)
        skips, encoder = [], len(self.path) // 2
        for i, layer in enumerate(self.path):
            row = i - encoder
            if 0 <= row < self.skip_weights.size(0) and skips:
                skip = self.skip_weights[row].to(x.dtype) * skips.pop()
                x = torch.lerp(skip, x, torch.sigmoid(self.skip_gates[row]).to(x.dtype))
            x = self.blocks[layer](x, x0)
            if row < 0:
                skips.append(x)
        return rms_norm(x)

    def logits(self, ids):
        x = self.hidden(ids)
        head = self.tok_emb.weight if self.lm_head is None else self.lm_head.weight
        cap = self.c["logit_softcap"]
        return cap * torch.tanh(F.linear(x, head) / cap)

    def forward(self, ids, targets):
        logits = self.logits(ids)
        ce = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        aux = sum(self.blocks[i].mlp.aux for i in self.c["moe_layers"])  # of a looped layer: its last pass's
        return ce + self.c.get("moe_aux_weight", 0.01) * aux


def compare(kind, case):
    """Largest differences of logits, loss and gradients from a parity case of that kind of model."""
    from safetensors.torch import load_file
    c = json.load(open(f"{case}/config.json"))
    io, grads = load_file(f"{case}/io.safetensors"), load_file(f"{case}/grads.safetensors")
    model = kind(c)
    model.load_state_dict(load_file(f"{case}/model.safetensors"))
    ids, targets = io["input_ids"].long(), io["target_ids"].long()
    with torch.no_grad():
        print("logits", (model.logits(ids) - io["logits"]).abs().max().item())
    loss = model(ids, targets)
    print("loss", (loss - io["loss"]).abs().item())
    loss.backward()
    named = dict(model.named_parameters())
    worst = max(((named[n].grad - g).abs().max() / g.abs().max()).item() for n, g in grads.items())
    print("gradients, relative", worst)


if __name__ == "__main__":
    compare(Model, sys.argv[1])
