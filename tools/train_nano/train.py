#!/usr/bin/env python3
"""Trains the nano model through the phases of curriculum.json and writes a checkpoint now and then. See README.md.

    tools/train_nano/train.py nano.pt --start start.pt
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import generator
import tokenizer
from grow import num_layers
from model import Nano, Shape

MUON_RATE, MUON_MOMENTUM = 0.02, 0.95
WEIGHT_DECAY = 0.1
ADAM_RATE = 3e-3
WARMUP_STEPS = 50
LAST_FACTOR = 0.02  # what is left of the rate at the end
OTHER_TOKENS_SHARE = 0.04  # of the tokens that need no recall: as many are looked at
OTHER_TOKENS_WEIGHT = 0.1
LOG_STEPS = 25

# Tokens of answers that can be written without having found anything; not counted as answers in the log.
TRIVIAL_TOKENS = ("Ġ", ".", ",", ";", ":", '"', 'Ġ"', '",', ',Ċ', 'Ċ', "Ġand")


class Muon:
    """Momentum whose steps are made orthogonal by a Newton-Schulz iteration; for matrices. With it induction appears
    after about 350 steps of dense recall, where AdamW had not found it after 1,100."""

    def __init__(self, matrices):
        self.groups = {}
        for matrix in matrices:
            self.groups.setdefault(matrix.shape, []).append(matrix)
        self.momenta = {shape: torch.zeros(len(group), *shape) for shape, group in self.groups.items()}

    @staticmethod
    def orthogonalized(stack):
        a, b, c = 3.4445, -4.7750, 2.0315
        x = stack / (stack.norm(dim=(1, 2), keepdim=True) + 1e-7)
        is_tall = x.shape[1] > x.shape[2]
        if is_tall:
            x = x.mT
        for _ in range(5):
            square = x @ x.mT
            x = a * x + (b * square + c * square @ square) @ x
        return x.mT if is_tall else x

    @torch.no_grad()
    def step(self, rate):
        """Old weights shrink a little with every step: grown large, they are hardly moved any more."""
        for shape, group in self.groups.items():
            gradients = torch.stack([matrix.grad for matrix in group])
            momentum = self.momenta[shape].mul_(MUON_MOMENTUM).add_(gradients)
            directions = self.orthogonalized(gradients.add(momentum, alpha=MUON_MOMENTUM))
            for matrix, direction in zip(group, directions):
                matrix.mul_(1 - rate * WEIGHT_DECAY).add_(direction, alpha=-rate * max(1, shape[0] / shape[1])**.5)


class Curriculum:
    """Phases one after the other, each for its minutes: the factor on the learning rates, the batches (texts, tokens of a
    text, share) and the mix of tasks. In the last `decay_minutes` of all the factor falls in a straight line."""

    def __init__(self, path):
        curriculum = json.loads(Path(path).read_text())
        self.phases, self.decay_minutes = curriculum["phases"], curriculum["decay_minutes"]
        self.minutes = sum(phase["minutes"] for phase in self.phases)

    def at(self, minutes):
        """(phase, factor), or None when the training is over."""
        if minutes >= self.minutes:
            return None
        left = min(1, (self.minutes - minutes) / self.decay_minutes)
        for phase in self.phases:
            if minutes < phase["minutes"]:
                return phase, phase["rate"] * (left + LAST_FACTOR * (1 - left))
            minutes -= phase["minutes"]
        return None


def make_batch(rng, num_texts, length, mix):
    """(inputs, targets, weights), each [num_texts][length]."""
    texts = [generator.sample(rng, length, mix) for _ in range(num_texts)]
    ids, targets, weights = (torch.tensor(column) for column in zip(*texts))
    return ids[:, :-1], targets, weights


def load_model(path):
    weights = torch.load(path)
    model = Nano(Shape(vocabulary=tokenizer.VOCABULARY_SIZE, layers=num_layers(weights)))
    model.load_state_dict(weights)
    for layer in model.blk:
        layer.has_ffn = bool(layer.ffn_down.weight.any())
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="file to write, e.g. nano.pt; the log goes to CHECKPOINT.log")
    parser.add_argument("--start", required=True, help="checkpoint to go on from (grow.py)")
    parser.add_argument("--curriculum", default=Path(__file__).with_name("curriculum.json"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    rng = random.Random(options.seed)
    generator.use_prose(options.seed)
    curriculum = Curriculum(options.curriculum)
    model = load_model(options.start)
    trained = {name: p for name, p in model.named_parameters()
               if not (".ffn_" in name and not model.blk[int(name.split(".")[1])].has_ffn)}
    matrices = [p for name, p in trained.items() if p.dim() == 2 and name != "token_embd.weight"]
    others = [p for name, p in trained.items() if p.dim() != 2 or name == "token_embd.weight"]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(others, lr=ADAM_RATE, betas=(.9, .98), weight_decay=0)
    is_trivial = torch.zeros(tokenizer.VOCABULARY_SIZE, dtype=torch.bool)
    is_trivial[[tokenizer.TOKEN_IDS[token] for token in TRIVIAL_TOKENS] + [tokenizer.EOS]] = True

    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    step = num_tokens = num_answers = num_correct = 0
    start = time.time()
    with open(options.checkpoint + ".log", "a", encoding="utf-8") as log:
        while (now := curriculum.at((time.time() - start) / 60)) is not None:
            phase, factor = now
            factor *= min(1, (step + 1) / WARMUP_STEPS)
            *shapes, shares = zip(*phase["batches"])
            num_texts, length = rng.choices(list(zip(*shapes)), shares)[0]
            inputs, targets, weights = make_batch(rng, num_texts, length, phase["mix"])
            selected = (weights > 0) | (torch.rand(weights.shape) < OTHER_TOKENS_SHARE)
            logits = model.logits(model.hidden(inputs)[selected])
            wanted, weight = targets[selected], weights[selected]
            losses = F.cross_entropy(logits, wanted, reduction="none")
            is_answer = weight > 0
            loss = (losses * weight).sum() / weight.sum() + OTHER_TOKENS_WEIGHT * losses[~is_answer].mean()
            model.zero_grad()
            loss.backward()
            muon.step(MUON_RATE * factor)
            for group in adam.param_groups:
                group["lr"] = ADAM_RATE * factor
            adam.step()

            is_answer &= ~is_trivial[wanted]
            num_correct += (logits[is_answer].argmax(-1) == wanted[is_answer]).sum().item()
            num_answers += is_answer.sum().item()
            num_tokens += inputs.numel()
            step += 1
            if step % LOG_STEPS == 0:
                minutes = (time.time() - start) / 60
                line = (f"{minutes:.1f} min, step {step}, {phase['name']}, loss {loss.item():.3f}, "
                        f"answers {num_correct / max(1, num_answers):.3f}, {num_tokens / 1e6:.2f} M tokens, rate {factor:.2f}")
                print(line, flush=True)
                log.write(line + "\n")
                log.flush()
                num_answers = num_correct = 0
                torch.save(model.state_dict(), options.checkpoint + ".new")
                Path(options.checkpoint + ".new").rename(options.checkpoint)
    torch.save(model.state_dict(), options.checkpoint)


if __name__ == "__main__":
    main()
