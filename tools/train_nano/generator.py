"""Training texts: filler with planted facts and questions about them, lists of entries, variable chains, copies, frequent words.

A text is built by a task function (rng, length, encode) -> Document. Many questions follow one context, so that many tokens
of a text can only be known by retrieving. The order in which random numbers are drawn is part of a task's definition.
"""

from words import ADJECTIVES, CITIES, JOBS, LETTERS, NAMES, NOISE, NOUNS, VERBS


class Document:
    """Tokens, and for each whether it must be recalled from earlier ones (the trainer weights those)."""

    def __init__(self, encode, length):
        self.ids = []
        self.recalled = []
        self.encode = encode
        self.length = length

    def add(self, text, recalled=0):
        ids = self.encode(text)
        self.ids += ids
        self.recalled += [recalled] * len(ids)
        return len(ids)

    def is_full(self):
        return len(self.ids) >= self.length


def number(rng, num_digits=None):
    num_digits = num_digits or rng.choice((3, 4, 5, 6))
    return "".join(rng.choice("0123456789") for _ in range(num_digits))


def compound(rng):
    """Such as "amber-anchor"."""
    return f"{rng.choice(ADJECTIVES)}-{rng.choice(NOUNS)}"


def filler(rng):
    """A sentence that says nothing anybody asks about."""
    kind = rng.random()

    def adjective():
        return rng.choice(ADJECTIVES)

    def noun():
        return rng.choice(NOUNS)

    if kind < .25:
        return f" The {adjective()} {noun()} {rng.choice(VERBS)} the {adjective()} {noun()} near the {noun()}."
    if kind < .45:
        return f" {rng.choice(NAMES)} {rng.choice(VERBS)} a {adjective()} {noun()} and then {rng.choice(VERBS)} the {noun()}."
    if kind < .6:
        return f" In {rng.choice(CITIES)} the {noun()} was {adjective()} and the {noun()} was {adjective()}."
    if kind < .75:
        return f" When the {noun()} was {adjective()}, {rng.choice(NAMES)} {rng.choice(VERBS)} the {noun()} of {rng.choice(CITIES)}."
    if kind < .9:
        return f" A {rng.choice(JOBS)} from {rng.choice(CITIES)} said that the {adjective()} {noun()} is {adjective()}."
    return NOISE


def plant(rng, document, facts, num_tokens, only_noise):
    """Spreads `facts`, in their order, over filler; about `num_tokens` in all."""
    room = max(1, num_tokens - sum(len(document.encode(fact)) for fact in facts))
    places = sorted(rng.random() for _ in facts)
    next_fact = filled = 0
    while next_fact < len(facts) or filled < room:
        if next_fact < len(facts) and filled >= places[next_fact] * room:
            document.add(facts[next_fact])
            next_fact += 1
        else:
            filled += document.add(NOISE if only_noise else filler(rng))


def magic_question(key, kind, num_values=1):
    plural, be = ("s", "are") if num_values > 1 else ("", "is")
    every = "all " if num_values > 1 else ""
    return (f" Question: What {be} {every}the special magic {kind}{plural} for {key} mentioned in the provided text?"
            f" Answer: The special magic {kind}{plural} for {key} mentioned in the provided text {be}")


def needles(rng, length, encode):
    """Needles in a haystack: magic numbers and words by key, homes, jobs and pass keys by name."""
    document = Document(encode, length)
    num_context = int(length * rng.uniform(.35, .8))
    num_keys = max(1, int(rng.random()**1.5 * num_context / 22) + 1)
    only_noise = rng.random() < .25
    facts = []  # (sentence, key of a magic value or None, value)
    questions = []  # ("plain", question, answer) or ("magic", kind, key)
    used = set()
    several_values = rng.random() < .15
    while len(facts) < num_keys and len(used) < 70:
        choice = rng.random()
        if choice < .6:
            key = compound(rng)
            if key in used:
                continue
            used.add(key)
            is_word = rng.random() < .35
            kind = "word" if is_word else "number"
            num_values = rng.randint(2, 4) if several_values and rng.random() < .5 else 1
            for _ in range(num_values):
                value = compound(rng) if is_word else number(rng)
                facts.append((f" One of the special magic {kind}s for {key} is: {value}.", key, value))
            questions.append(("magic", kind, key))
        elif choice < .8:
            name = rng.choice(NAMES)
            if name in used:
                continue
            used.add(name)
            city = rng.choice(CITIES)
            facts.append((f" {name} lives in {city}.", None, None))
            questions.append(("plain", f" Question: Where does {name} live? Answer: {name} lives in", f" {city}."))
            if rng.random() < .5:
                job = rng.choice(JOBS)
                facts.append((f" {name} works as a {job}.", None, None))
                questions.append(("plain", f" Question: What is the job of {name}? Answer: {name} works as a", f" {job}."))
        else:
            name = rng.choice(NAMES)
            if name + "'s key" in used:
                continue
            used.add(name + "'s key")
            value = number(rng)
            facts.append((f" The pass key of {name} is {value}. Remember it. {value} is the pass key.", None, None))
            questions.append(
                ("plain", f" Question: What is the pass key of {name}? Answer: The pass key of {name} is", f" {value}."))
    rng.shuffle(facts)
    plant(rng, document, [sentence for sentence, _, _ in facts], num_context, only_noise)
    is_short = rng.random() < .5
    while not document.is_full():
        form, *rest = rng.choice(questions)
        if form == "plain":
            question, answer = rest
        else:
            kind, key = rest
            values = [value for _, fact_key, value in facts if fact_key == key]
            question = f" Recall: {key} is:" if is_short else magic_question(key, kind, len(values))
            answer = " " + ", ".join(values) + "."
        document.add(question)
        document.add(answer, 1)
    return document


def entries(rng, length, encode):
    """A list of keys with values, then keys again."""
    document = Document(encode, length)
    num_entries = rng.randint(3, max(4, length // 14))
    has_numbers = rng.random() < .5
    has_long_keys = rng.random() < .7
    values = {}
    while len(values) < min(num_entries, 60):
        # The value first: it was drawn first when the shipped weights were trained.
        value = number(rng, 3) if has_numbers else rng.choice(NOUNS)
        key = f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}" if has_long_keys else rng.choice(NOUNS)
        values[key] = value
    document.add(" Here is a list of entries:")
    for key, value in values.items():
        document.add(f" {key}: {value};")
    keys = list(values)
    is_question = rng.random() < .5
    while not document.is_full():
        key = rng.choice(keys)
        document.add(f" Question: What is the value of {key}? Answer: {key}:" if is_question else f" Recall: {key}:")
        document.add(f" {values[key]};", 1)
    return document


def variables(rng, length, encode):
    """Chains of assignments, interleaved; asked for a variable's value or for all variables of a value."""
    document = Document(encode, length)
    chains = []  # (value, names)
    lines = []  # one list of assignments per chain
    used = set()
    for _ in range(rng.randint(1, max(1, min(5, length // 100)))):
        num_hops = rng.randint(1, 4)
        value = number(rng, 5)
        names = []
        while len(names) <= num_hops:
            name = " ".join(rng.choice(LETTERS) for _ in range(2))
            if name not in used:
                used.add(name)
                names.append(name)
        chains.append((value, names))
        lines.append([f" VAR {names[0]} = {value}."] +
                     [f" VAR {name} = VAR {previous}." for previous, name in zip(names, names[1:])])
    interleaved = []
    taken = [0] * len(chains)
    while open_chains := [i for i in range(len(chains)) if taken[i] < len(lines[i])]:
        chain = rng.choice(open_chains)
        interleaved.append(lines[chain][taken[chain]])
        taken[chain] += 1
    num_context = int(length * rng.uniform(.35, .7))
    plant(rng, document, interleaved, num_context, rng.random() < .5)
    while not document.is_full():
        value, names = rng.choice(chains)
        if rng.random() < .4:
            document.add(f" Question: Find all variables that are assigned the value {value}. Answer:")
            document.add(" " + ", ".join(names) + ".", 1)
        else:
            name = rng.choice(names)
            document.add(f" Question: What is the value of VAR {name}? Answer: VAR {name} =")
            document.add(f" {value}.", 1)
    return document


def copies(rng, length, encode):
    """A run of words, repeated."""
    document = Document(encode, length)
    vocabulary = ADJECTIVES + NOUNS + NAMES + CITIES
    segment = "".join(" " + rng.choice(vocabulary) for _ in range(rng.randint(8, max(9, length // 6))))
    document.add(segment + ".")
    while not document.is_full():
        document.add(" Repeat:")
        document.add(segment + ".", 1)
    return document


def frequent_words(rng, length, encode):
    """A list of words of which a few come often; asked for those."""
    document = Document(encode, length)
    while not document.is_full():
        num_common = rng.randint(1, 3)
        sample_words = rng.sample(NOUNS, 43)
        common, rest = sample_words[:num_common], sample_words[num_common:]
        num_words = int(rng.uniform(.2, .5) * length)
        listed = [word for word in common for _ in range(max(3, num_words // (3 * num_common)))]
        listed += [rng.choice(rest) for _ in range(num_words // 2)]
        rng.shuffle(listed)
        document.add(" Words: " + " ".join(listed) + ".")
        document.add(" Question: What are the most common words? Answer:")
        document.add(" " + ", ".join(sorted(common, key=listed.index)) + ".", 1)
    return document


def pairs(rng, length, encode):
    """The densest form: short pairs, then keys of one token again. Induction is learned here first."""
    document = Document(encode, length)
    keys = rng.sample(NOUNS, rng.randint(3, 12))
    values = {key: rng.choice(ADJECTIVES if rng.random() < .5 else CITIES) for key in keys}
    for key in keys:
        document.add(f" {key} {values[key]}")
    document.add(".")
    while not document.is_full():
        key = rng.choice(keys)
        document.add(f" {key}")
        document.add(f" {values[key]}", 1)
    return document


def sample(rng, length, encode, progress):
    """A training text as (ids, recalled), `length` tokens each. `progress` of the training runs from 0 to 1: dense recall and
    copies at first, from 0.3 on the full mix."""
    choice = rng.random()
    dense_share = .9 * (1 - progress / .3) if progress < .3 else .04
    if choice < dense_share:
        task = pairs if rng.random() < .6 else copies if rng.random() < .5 else entries
    else:
        choice = rng.random()
        task = (needles if choice < .58 else entries if choice < .8 else variables if choice < .9 else
                copies if choice < .96 else frequent_words)
    document = task(rng, length, encode)
    return document.ids[:length], document.recalled[:length]
