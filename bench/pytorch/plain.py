"""The architectures of #480 (soft), #660 (explore) and #1692 (randup) in PyTorch: a second opinion on moec's numbers (never a
dependency of it), written from their formulas. model.py has #2102's (upcycle).

Their common backbone is a plain one: full rotary, no XSA, no loops, skips without gates, relu². Names are the scripts', so
their parity cases load as they are; `python plain.py CASE` compares with one. Clear before fast: experts all see all tokens.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

from model import Rotary, compare, rms_norm


def relu2(x):
    return F.relu(x).square()


def matrix(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, self.heads, self.kv_heads = c["model_dim"], c["num_heads"], c["num_kv_heads"]
        self.head_dim = d // self.heads
        self.c_q, self.proj = matrix(d, d), matrix(d, d)
        self.c_k, self.c_v = matrix(d, self.kv_heads * self.head_dim), matrix(d, self.kv_heads * self.head_dim)
        self.q_gain = nn.Parameter(torch.full((self.heads,), float(c["qk_gain_init"])))
        self.rotary = Rotary(self.head_dim, c["rope_base"])

    def forward(self, x):
        q, k, v = (f(x).view(*x.shape[:2], -1, self.head_dim).transpose(1, 2) for f in (self.c_q, self.c_k, self.c_v))
        q, k = self.rotary(rms_norm(q)) * self.q_gain[:, None, None], self.rotary(rms_norm(k))
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        scores = (q @ k.mT / math.sqrt(self.head_dim)).masked_fill(
            torch.ones(x.size(1), x.size(1), dtype=torch.bool).triu(1), -math.inf)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape))


class MLP(nn.Module):
    def __init__(self, d, hidden):
        super().__init__()
        self.fc, self.proj = matrix(d, hidden), matrix(hidden, d)

    def forward(self, x):
        return self.proj(relu2(self.fc(x)))


def balance(p):
    """Switch's loss: E · Σ_e f_e p̄_e, f_e the share of the tokens whose first choice is e."""
    share = F.one_hot(p.argmax(-1), p.size(-1)).float().flatten(0, -2).mean(0)
    return p.size(-1) * (share * p.flatten(0, -2).mean(0)).sum()


class Soft(nn.Module):
    """y = Σ_e p_e expert_e(x)"""

    def __init__(self, d, hidden, experts):
        super().__init__()
        self.gate, self.experts = matrix(d, experts), nn.ModuleList(MLP(d, hidden) for _ in range(experts))

    def forward(self, x):
        p = self.gate(x).softmax(-1)
        self.aux = balance(p)
        return sum(p[..., e, None] * expert(x) for e, expert in enumerate(self.experts))


class Sparse(nn.Module):
    """y = Σ_{e in top k} g_e expert_e(x) [+ shared(x)]; g = p for k = 1, else p renormalised over the k."""

    def __init__(self, d, hidden, experts, top_k, shared_hidden=0):
        super().__init__()
        self.top_k = top_k
        self.router, self.experts = matrix(d, experts), nn.ModuleList(MLP(d, hidden) for _ in range(experts))
        self.shared = MLP(d, shared_hidden) if shared_hidden else None

    def forward(self, x):
        p = self.router(x).softmax(-1)
        gates, chosen = p.topk(self.top_k, dim=-1)
        if self.top_k > 1:
            gates = gates / gates.sum(-1, keepdim=True)
        self.aux = balance(p)
        g = torch.zeros_like(p).scatter(-1, chosen, gates)
        y = sum(g[..., e, None] * expert(x) for e, expert in enumerate(self.experts))
        return y if self.shared is None else y + self.shared(x)


class RandomUp(nn.Module):
    """u = R x, R frozen; chunk e of gain ⊙ u times softmax(W_r x)_e; + U(V x)"""

    def __init__(self, d, hidden, c):
        super().__init__()
        experts, rank = c["random_mlp_up_num_experts"], c["random_mlp_up_rank"]
        q = [torch.linalg.qr(torch.randn(max(d, hidden // experts), d))[0][: hidden // experts] for _ in range(experts)]
        self.register_buffer("random_weight", torch.cat(q))
        self.adapter_gain = nn.Parameter(torch.ones(hidden)) if c["random_mlp_up_gain"] else None
        self.adapter_router = matrix(d, experts) if experts > 1 else None
        self.adapter_down, self.adapter_up = (matrix(d, rank), matrix(rank, hidden)) if rank else (None, None)

    def forward(self, x):
        u = F.linear(x, self.random_weight)
        if self.adapter_gain is not None:
            u = self.adapter_gain * u
        if self.adapter_router is not None:
            p = self.adapter_router(x).softmax(-1)
            u = u * p.repeat_interleave(u.size(-1) // p.size(-1), dim=-1)
        return u if self.adapter_down is None else u + self.adapter_up(self.adapter_down(x))


def make_mlp(c, layer):
    d, mode = c["model_dim"], c.get("moe_mode")
    hidden, experts = int(c["mlp_mult"] * d), c.get("num_experts", 1)
    start = c.get("moe_start_layer", 0)
    if layer in c.get("random_mlp_up_layers", []):
        mlp = MLP(d, hidden)
        mlp.fc = RandomUp(d, hidden, c)
        return mlp
    if experts == 1 or layer < (start if start >= 0 else c["num_layers"] // 2):
        return MLP(d, hidden)
    if mode == "standard":
        return Sparse(d, hidden, experts, c["top_k"])
    if mode == "shared_routed":
        return Sparse(d, d, experts, c.get("routed_top_k", 1), shared_hidden=2 * d)
    return Soft(d, int(c["mlp_mult"] / experts * d) if mode == "soft" else hidden, experts)


class Block(nn.Module):
    def __init__(self, c, layer):
        super().__init__()
        d = c["model_dim"]
        self.attn, self.mlp = Attention(c), make_mlp(c, layer)
        self.attn_scale, self.mlp_scale = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))
        self.resid_mix = nn.Parameter(torch.stack((torch.ones(d), torch.zeros(d))))

    def forward(self, x, x0):
        x = self.resid_mix[0] * x + self.resid_mix[1] * x0
        x = x + self.attn_scale * self.attn(rms_norm(x))
        return x + self.mlp_scale * self.mlp(rms_norm(x))


def shifted(ids, by):
    return F.pad(ids, (by, 0))[:, : ids.size(1)]


class Hash(nn.Module):
    """A table that is read at a hash of a token and those before it, times a learned scale."""

    def __init__(self, buckets, dim, d):
        super().__init__()
        self.embed, self.proj = nn.Embedding(buckets, dim), matrix(dim, d) if dim != d else None
        self.scale = nn.Parameter(torch.tensor(0.05))

    def forward(self, index):
        x = self.embed(index)
        return self.scale * (x if self.proj is None else self.proj(x))


class Bigram(Hash):
    """(36313 · cur xor 27191 · prev) mod (n − 1) in wrapping int32; the first position → n − 1"""

    def forward(self, ids):
        n, ids = self.embed.num_embeddings, ids.int()
        index = ((36313 * ids) ^ (27191 * shifted(ids, 1))) % (n - 1)
        index[:, 0] = n - 1
        return super().forward(index.long())


class Trigram(Hash):
    """(961 t₋₂ + 31 t₋₁ + t) mod n; the first two positions → 0"""

    def forward(self, ids):
        index = (961 * shifted(ids, 2) + 31 * shifted(ids, 1) + ids) % self.embed.num_embeddings
        index[:, :2] = 0
        return super().forward(index)


class Smear(nn.Module):
    """x ← (1 − σ(g)) x + σ(g) x_prev"""

    def __init__(self, d):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(d))

    def forward(self, x):
        return torch.lerp(x, F.pad(x[:, :-1], (0, 0, 1, 0)), torch.sigmoid(self.gate))


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, d, layers = c, c["model_dim"], c["num_layers"]
        self.tok_emb = nn.Embedding(c["vocab_size"], d)
        self.bigram = Bigram(c["bigram_vocab_size"], c["bigram_dim"], d) if c.get("bigram_vocab_size") else None
        self.trigram = Trigram(c["trigram_hash_buckets"], c["trigram_dim"], d) if c.get("trigram_hash_buckets") else None
        self.smear = Smear(d) if c["family"] != "randup" else None
        self.blocks = nn.ModuleList(Block(c, i) for i in range(layers))
        self.skip_weights = nn.Parameter(torch.ones(layers // 2, d))

    def logits(self, ids):
        x = self.tok_emb(ids)
        for table in (self.bigram, self.trigram):
            x = x if table is None else x + table(ids)
        x = rms_norm(x)
        x = x0 = x if self.smear is None else self.smear(x)
        skips, encoder = [], len(self.blocks) // 2
        for i, block in enumerate(self.blocks):
            if i >= encoder and skips:
                x = x + self.skip_weights[i - encoder] * skips.pop()
            x = block(x, x0)
            if i < encoder:
                skips.append(x)
        cap = self.c["logit_softcap"]
        return cap * torch.tanh(F.linear(rms_norm(x), self.tok_emb.weight) / cap)

    def forward(self, ids, targets):
        ce = F.cross_entropy(self.logits(ids).flatten(0, 1), targets.flatten())
        aux = [b.mlp.aux for b in self.blocks if hasattr(b.mlp, "aux")]
        if self.c["family"] == "soft":
            return ce + 0.01 * sum(aux) / len(aux)
        return ce if self.c.get("moe_mode") == "soft" else ce + self.c.get("moe_aux_loss_coef", 0) * sum(aux)


if __name__ == "__main__":
    import sys
    compare(Model, sys.argv[1])
