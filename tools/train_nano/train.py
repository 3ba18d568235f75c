#!/usr/bin/env python3
"""Trains the nano model for a given time and writes a checkpoint (and its log) now and then. See README.md."""

import argparse
import random
import time

import torch
import torch.nn.functional as F

import generator
import tokenizer
from model import Nano, Shape

MUON_RATE, MUON_MOMENTUM = 0.02, 0.95
ADAM_RATE = 3e-3
WARMUP_STEPS = 100
CONSTANT_SHARE = 0.4  # of the training; then the rate falls in a straight line
OTHER_TOKENS_SHARE = 0.1  # of the tokens that need no recall: as many are looked at, and so much they weigh
LOG_STEPS = 25

# (up to which share of the training, texts in a batch, tokens of a text). A length that was not trained is not learned.
CURRICULUM = ((.14, 96, 64), (.34, 56, 128), (.6, 28, 256), (.84, 14, 512), (1.0, 6, 1024))

# Tokens of answers that can be written without having found anything; not counted as answers in the log.
TRIVIAL_TOKENS = ("Ġ", ".", ",", ";", ":")


class Muon:
    """Momentum whose steps are made orthogonal by a Newton-Schulz iteration; for matrices. With it induction appears
    after about 350 steps of dense recall, where AdamW had not found it after 1,100."""

    def __init__(self, matrices):
        self.matrices = matrices
        self.momenta = [torch.zeros_like(matrix) for matrix in matrices]

    @staticmethod
    def orthogonalized(matrix):
        a, b, c = 3.4445, -4.7750, 2.0315
        x = matrix / (matrix.norm() + 1e-7)
        is_tall = x.shape[0] > x.shape[1]
        if is_tall:
            x = x.t()
        for _ in range(5):
            square = x @ x.t()
            x = a * x + (b * square + c * square @ square) @ x
        return x.t() if is_tall else x

    @torch.no_grad()
    def step(self, rate):
        for matrix, momentum in zip(self.matrices, self.momenta):
            momentum.mul_(MUON_MOMENTUM).add_(matrix.grad)
            direction = self.orthogonalized(matrix.grad.add(momentum, alpha=MUON_MOMENTUM))
            matrix.add_(direction, alpha=-rate * max(1, matrix.shape[0] / matrix.shape[1])**.5)


def make_batch(rng, num_texts, length, progress):
    """(inputs, targets, which targets must be recalled), each [num_texts][length]."""
    texts = [generator.sample(rng, length, tokenizer.encode, progress) for _ in range(num_texts)]
    ids = torch.tensor([[tokenizer.BOS] + ids for ids, _ in texts])
    return ids[:, :-1], ids[:, 1:], torch.tensor([recalled for _, recalled in texts]) >= 1


def schedule(step, progress):
    """The factor on both learning rates."""
    return min(1, (step + 1) / WARMUP_STEPS) * min(1, (1 - progress) / (1 - CONSTANT_SHARE) + 0.02)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="file to write, e.g. nano.pt; the log goes to CHECKPOINT.log")
    parser.add_argument("--minutes", type=float, default=34)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start-from", help="a checkpoint to go on from")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    rng = random.Random(options.seed)
    model = Nano(Shape(vocabulary=tokenizer.VOCABULARY_SIZE, layers=options.layers))
    if options.start_from:
        model.load_state_dict(torch.load(options.start_from))

    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and name != "token_embd.weight"]
    others = [p for name, p in model.named_parameters() if p.dim() != 2 or name == "token_embd.weight"]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(others, lr=ADAM_RATE, betas=(.9, .98), weight_decay=.01)
    is_trivial = torch.zeros(tokenizer.VOCABULARY_SIZE, dtype=torch.bool)
    is_trivial[[tokenizer.TOKEN_IDS[token] for token in TRIVIAL_TOKENS]] = True

    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    start = time.time()
    step = num_tokens = num_answers = num_correct = 0
    with open(options.checkpoint + ".log", "a", encoding="utf-8") as log:
        while (progress := (time.time() - start) / (options.minutes * 60)) < 1:
            num_texts, length = next((n, t) for until, n, t in CURRICULUM if progress < until)
            inputs, targets, recalled = make_batch(rng, num_texts, length, progress)
            # Logits only where they matter: all that must be recalled and a sample of the rest.
            selected = recalled | (torch.rand(recalled.shape) < OTHER_TOKENS_SHARE)
            logits = model.logits(model.hidden(inputs)[selected])
            losses = F.cross_entropy(logits, targets[selected], reduction="none")
            is_recalled = recalled[selected]
            loss = losses[is_recalled].mean() + OTHER_TOKENS_SHARE * losses[~is_recalled].mean()

            factor = schedule(step, progress)
            model.zero_grad()
            loss.backward()
            muon.step(MUON_RATE * factor)
            for group in adam.param_groups:
                group["lr"] = ADAM_RATE * factor
            adam.step()

            is_answer = is_recalled & ~is_trivial[targets[selected]]
            num_correct += (logits[is_answer].argmax(-1) == targets[selected][is_answer]).sum().item()
            num_answers += is_answer.sum().item()
            num_tokens += inputs.numel()
            step += 1
            if step % LOG_STEPS == 0:
                minutes = (time.time() - start) / 60
                line = (f"{minutes:.1f} min, step {step}, length {length}, loss {loss.item():.3f}, "
                        f"answers {num_correct / max(1, num_answers):.3f}, {num_tokens / minutes / 60:.0f} tokens/s")
                print(line, flush=True)
                log.write(line + "\n")
                log.flush()
                num_answers = num_correct = 0
                torch.save(model.state_dict(), options.checkpoint)
    torch.save(model.state_dict(), options.checkpoint)


if __name__ == "__main__":
    main()
