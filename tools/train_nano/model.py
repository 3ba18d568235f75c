"""The nano model: a Llama decoder (RMSNorm, interleaved RoPE, grouped queries, SwiGLU, tied output) in PyTorch."""

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn

NORM_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class Shape:
    vocabulary: int
    layers: int = 4
    width: int = 128
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 32
    ffn: int = 384
    rope_base: float = 100000.0


class RmsNorm(nn.Module):

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight, NORM_EPSILON)


def rope_table(shape, length):
    """Rotations as complex numbers, [length][head_size / 2]."""
    frequencies = 1.0 / shape.rope_base**(torch.arange(0, shape.head_size, 2).float() / shape.head_size)
    angles = torch.arange(length).float()[:, None] * frequencies
    return torch.complex(angles.cos(), angles.sin())


def rotate(x, table):
    """RoPE on neighbouring pairs of channels, as GGUF's llama architecture wants it; x: [batch][heads][length][head_size]."""
    pairs = torch.view_as_complex(x.contiguous().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * table).flatten(-2)


class Layer(nn.Module):

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.has_ffn = True  # false: ffn_down is zero and stays so, and no time is spent on it
        q_width, kv_width = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
        self.attn_norm = RmsNorm(shape.width)
        self.attn_q = nn.Linear(shape.width, q_width, bias=False)
        self.attn_k = nn.Linear(shape.width, kv_width, bias=False)
        self.attn_v = nn.Linear(shape.width, kv_width, bias=False)
        self.attn_output = nn.Linear(q_width, shape.width, bias=False)
        self.ffn_norm = RmsNorm(shape.width)
        self.ffn_gate = nn.Linear(shape.width, shape.ffn, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.ffn, bias=False)
        self.ffn_down = nn.Linear(shape.ffn, shape.width, bias=False)

    def attend(self, x, table):
        batch, length, _ = x.shape
        shape = self.shape
        group = shape.heads // shape.kv_heads

        def heads_of(rows, num_heads):
            return rows.view(batch, length, num_heads, shape.head_size).transpose(1, 2)

        q = rotate(heads_of(self.attn_q(x), shape.heads), table)
        k = rotate(heads_of(self.attn_k(x), shape.kv_heads), table).repeat_interleave(group, 1)
        v = heads_of(self.attn_v(x), shape.kv_heads).repeat_interleave(group, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.attn_output(y.transpose(1, 2).reshape(batch, length, shape.heads * shape.head_size))

    def forward(self, x, table):
        x = x + self.attend(self.attn_norm(x), table)
        if not self.has_ffn:
            return x
        y = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))


class Nano(nn.Module):

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.output_norm = RmsNorm(shape.width)
        for name, weights in self.named_parameters():
            if name.startswith("token_embd"):
                nn.init.normal_(weights, std=0.02)
            elif weights.dim() == 2:
                # What adds to the residual stream starts at half the size.
                scale = 0.5 if "attn_output" in name or "ffn_down" in name else 1.0
                nn.init.normal_(weights, std=scale / math.sqrt(weights.shape[1]))

    def hidden(self, ids):
        """Normalised last hidden states, [batch][length][width], of ids [batch][length]."""
        length = ids.shape[1]
        table = rope_table(self.shape, length)
        x = self.token_embd(ids)
        for layer in self.blk:
            x = layer(x, table)
        return self.output_norm(x)

    def logits(self, hidden):
        return hidden @ self.token_embd.weight.t()
