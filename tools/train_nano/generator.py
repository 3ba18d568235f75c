"""Training texts: contexts with planted facts and many questions about each, in the frames of the evaluation tasks.

A task function (rng, length) gives a Document. Several questions follow one context, so that many tokens of a text can only
be known by retrieving; every answer ends with the end token.
"""

import random

import tokenizer
from words import ADJECTIVES, ALPHABET, CITIES, NAMES, NOISE, NOUNS, VERBS, prose_sentence

HINT_WEIGHT = 0.5
FOLLOWING_WEIGHT = 0.3
NUM_SENTENCES = 20000  # of the prose that one training run sees
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
OUTINGS = ("row across the lake", "walk along the cliffs", "ride the night train", "camp under the old bridge",
           "climb the church tower", "skate on the frozen canal", "swim in the quarry", "follow the marching band",
           "cycle to the harbour", "wander through the orchards", "sail around the island", "hike up the volcano")
PASTIMES = ("feed the swans", "paint the clouds", "play chess with strangers", "sing to the cows", "bake plum cakes",
            "carve wooden whistles", "count falling stars", "write long postcards", "collect smooth pebbles",
            "listen to the church bells", "mend broken kites", "drink peppermint tea")
PEOPLE = ("Daniel", "John", "Mary", "Sandra")
PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
TRADES = ("baker barber builder butcher carpenter chemist cook dentist doctor driver farmer fisher gardener judge lawyer miner nurse "
          "painter plumber surgeon tailor teacher weaver writer").split()
HOUSES = "bakery clinic gallery hotel library museum school theater".split()
MOVES = ("went to", "moved to", "walked to", "travelled to")

encode = tokenizer.encode
_is_word = [False] * tokenizer.VOCABULARY_SIZE
for _token, _id in tokenizer.TOKEN_IDS.items():
    _is_word[_id] = any(c.isascii() and c.isalnum() for c in _token)


class Document:
    """Token ids, and for each a target (what the model should say before it) and the weight of that in the loss: 0 for what
    need not be recalled."""

    def __init__(self, length):
        self.length = length
        self.ids, self.targets, self.weights = [], [], []
        self.next_target = None  # of the token to come, where that is not the token itself

    def add_ids(self, ids, weight=0.0):
        at = len(self.ids)
        self.ids += ids
        self.targets += ids
        self.weights += [weight] * len(ids)
        if self.next_target is not None and ids:
            self.targets[at], self.weights[at] = self.next_target, HINT_WEIGHT
            self.next_target = None

    def add(self, text, weight=0.0):
        self.add_ids(encode(text), weight)

    def add_answer(self, text, end=()):
        """What must be recalled. Its first word weighs most: the rest mostly follows from that."""
        ids = encode(text) + list(end)
        first = next((i for i, token in enumerate(ids) if _is_word[token]), 0)
        self.add_ids(ids, FOLLOWING_WEIGHT)
        self.weights[len(self.weights) - len(ids) + first] = 1.0

    def is_full(self):
        return len(self.ids) >= self.length

    def hint(self, answer):
        """Makes the answer's first word the target after the last token so far, in place of what comes."""
        wanted = next((token for token in encode(answer) if _is_word[token]), None)
        if wanted is not None and self.next_target is None:
            self.next_target = wanted

    def ask(self, question, between, prefix, answer, key=None):
        """A question, what is put between it and `prefix`, and the answer with the end token. After the question's last
        token the answer's first word is wanted already, so that it is looked up there: ways of shrinking the cache that
        judge by the last tokens of a question can see that. The same after `key`, the words in the question that say what
        to look for: there the look-up is learned first."""
        if key is not None:
            end = question.rindex(key) + len(key)
            self.add(question[:end])
            self.hint(answer)
            question = question[end:]
        tail = between + prefix
        if len(self.ids) % 2 == 0:
            # In one piece with the question, as when the context is compressed without it; "?" and the line end are one token.
            rest = tail.lstrip("\n")
            question, tail = question + tail[:len(tail) - len(rest)], rest
        self.add(question)
        if tail:
            self.hint(answer)
            self.add(tail)
        self.next_target = None
        self.add_answer(answer, [tokenizer.EOS])


class Prose:
    """Sentences in tokens, made once; `start` has no space in front."""

    def __init__(self, seed):
        rng = random.Random(f"prose {seed}")
        texts = [prose_sentence(rng) for _ in range(NUM_SENTENCES)]
        self.after_space = [encode(" " + text) for text in texts]
        self.at_start = [encode(text) for text in texts]

    def sentence(self, rng, at_start):
        return rng.choice(self.at_start if at_start else self.after_space)


prose = None  # a Prose; set by use_prose


def use_prose(seed):
    global prose
    prose = Prose(seed)


def digits(rng, count):
    return "".join(rng.choice("0123456789") for _ in range(count))


def number(rng):
    """As RULER draws them."""
    return str(rng.randint(1000000, 9999999))


def compound(rng):
    """Such as "amber-anchor"."""
    return f"{rng.choice(ADJECTIVES)}-{rng.choice(NOUNS)}"


def hexes(rng, count):
    return "".join(rng.choice("0123456789abcdef") for _ in range(count))


def uuid(rng):
    return f"{hexes(rng, 8)}-{hexes(rng, 4)}-4{hexes(rng, 3)}-{rng.choice('89ab')}{hexes(rng, 3)}-{hexes(rng, 12)}"


def distinct(draw, count):
    found = {}
    while len(found) < count:
        found[draw()] = None
    return list(found)


def between(rng):
    """What stands between a question and the beginning of its answer."""
    return rng.choices(("\n", "\n\n", ""), (.8, .1, .1))[0]


NOISE_LINE, NOISE_SPACED = encode(NOISE), encode(" " + NOISE)
LINE_END = encode("\n")


def plant(rng, document, facts, num_tokens, hay=None):
    """Spreads `facts`, in their order, over about `num_tokens` of hay: prose in paragraphs, or lines of noise."""
    hay = hay or rng.choices(("prose", "noise"), (.6, .4))[0]
    in_lines = hay == "noise" and rng.random() < .9
    in_blocks = hay == "prose" and rng.random() < .25  # facts stand between blank lines
    coded = [(encode(fact), encode(" " + fact)) for fact in facts]
    room = max(1, num_tokens - sum(len(ids) for ids, _ in coded))
    places = sorted(rng.random() for _ in facts)
    if hay == "prose" and rng.random() < .1:
        places = sorted(round(place * 39) / 39 for place in places)
    next_fact = filled = 0
    at_start, paragraph = True, 0
    while next_fact < len(facts) or filled < room:
        before = len(document.ids)
        is_fact = next_fact < len(facts) and filled >= places[next_fact] * room
        if not at_start and (in_lines or in_blocks and is_fact or paragraph == 0 and hay == "prose"):
            document.add("\n" if in_lines else "\n\n")
            at_start = True
            paragraph = rng.randint(3, 7)
        if is_fact:
            document.add_ids(coded[next_fact][0 if at_start else 1])
            next_fact += 1
            if in_blocks:
                document.add("\n\n")
        elif hay == "noise":
            document.add_ids(NOISE_LINE if at_start else NOISE_SPACED)
        else:
            document.add_ids(prose.sentence(rng, at_start))
            paragraph -= 1
        at_start = is_fact and in_blocks
        if not is_fact:
            filled += len(document.ids) - before


def end_context(rng, document):
    document.add(rng.choice(("\n", "\n\n", "\n", "\n\n", " ")))


def context_for(length, num_questions, question_tokens):
    """How many tokens of a text are context, so that its questions fit behind it."""
    return int(max(.35 * length, length - num_questions * question_tokens))


def ask_all(rng, document, questions):
    """Every question once, in any order, until the text is full: asked twice, it could be answered from the first answer."""
    rng.shuffle(questions)
    for question in questions:
        if document.is_full():
            return
        question()


def magic_value(rng, kind):
    return number(rng) if kind == "number" else compound(rng) if kind == "word" else uuid(rng)


def join(parts):
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + ", and " + parts[-1]


# How a text asks for magic values, how often, and about how many tokens that takes. "recall" is short, so that a text holds
# many of them; "direct" has the value right after the question, no space before a number, so that the look-up is at the
# question's last token; "full" is RULER's.
FORMS = {"recall": (.35, 12), "direct": (.2, 24), "full": (.45, 42)}


def draw_form(rng):
    return rng.choices(list(FORMS), [share for share, _ in FORMS.values()])[0]


def magic_question(rng, document, form, kind, query, values):
    answer = ", ".join(values)
    several = len(values) > 1
    be, every, s = ("are", "all the", "s") if several else ("is", "the", "")
    key = None if ", " in query else query
    question = f"What {be} {every} special magic {kind}{s} for {query} mentioned in the text above?"
    if form == "recall":
        document.ask(f"\nRecall {query}:", "", "", " " + answer, key)
    elif form == "direct":
        document.ask(question, "", "", answer if kind == "number" else " " + answer, key)
    else:
        document.ask(question, between(rng), f" The special magic {kind}{s} for {query} mentioned in the text {be}", " " + answer, key)


def magic_facts(rng, num_keys, kinds=(.7, .27, .03), values_of=lambda: 1):
    facts = {}
    while len(facts) < num_keys:
        kind = rng.choices(("number", "word", "uuid"), kinds)[0]
        facts[compound(rng)] = (kind, [magic_value(rng, kind) for _ in range(values_of())])
    return facts


def magic_sentences(facts):
    return [(key, value, f"One of the special magic {kind}s for {key} is: {value}.")
            for key, (kind, values) in facts.items() for value in values]


def open_magic(rng, document, kind, several):
    choice = rng.random()
    if choice < .55:
        document.add(f"Some special magic {kind}s are hidden in the text below. Memorize them; you will be asked about the "
                     f"{kind}s later.\n" if several else
                     f"A special magic {kind} is hidden in the text below. Memorize it; you will be asked about it later.\n")
        if rng.random() < .4:
            document.add("\n")


def needles(rng, length, most_keys=40):
    """RULER's needles: from one key to many, in prose or noise, asked for again and again."""
    document = Document(length)
    form = draw_form(rng)
    num_keys = 1 + int(rng.random()**1.5 * min(most_keys, length / (FORMS[form][1] + 20)))
    num_context = context_for(length, num_keys, FORMS[form][1])
    several_values = rng.random() < .2
    facts = magic_facts(rng, num_keys, values_of=lambda: rng.randint(2, 4) if several_values else 1)
    sentences = magic_sentences(facts)
    rng.shuffle(sentences)
    open_magic(rng, document, next(iter(facts.values()))[0], num_keys > 1)
    plant(rng, document, [sentence for _, _, sentence in sentences], num_context - len(document.ids))
    end_context(rng, document)
    order = {key: [value for k, value, _ in sentences if k == key] for key in facts}
    questions = []
    keys = list(facts)
    if rng.random() < .3 and len(facts) >= 3 and not several_values:
        group = [key for key in keys if facts[key][0] == facts[keys[0]][0]][:4]
        if len(group) > 1:
            keys = [key for key in keys if key not in group]
            rng.shuffle(group)
            questions.append(lambda: magic_question(rng, document, form, facts[group[0]][0], join(group), [order[k][0] for k in group]))
    questions += [lambda key=key: magic_question(rng, document, form, facts[key][0], key, order[key]) for key in keys]
    ask_all(rng, document, questions)
    return document


def one_needle(rng, length):
    """A text with one fact (or up to four of one kind), as the tests have it."""
    document = Document(length)
    num_context = max(40, length - 48)
    facts = magic_facts(rng, rng.choice((1, 1, 1, 2, 4)))
    sentences = magic_sentences(facts)
    rng.shuffle(sentences)
    open_magic(rng, document, next(iter(facts.values()))[0], False)
    plant(rng, document, [sentence for _, _, sentence in sentences], num_context - len(document.ids))
    end_context(rng, document)
    key = rng.choice(list(facts))
    magic_question(rng, document, draw_form(rng), facts[key][0], key, facts[key][1])
    return document


def needle_list(rng, length):
    """Nothing but magic facts (RULER's haystack "needle"), one a line."""
    document = Document(length)
    num_context = length * rng.choice((.15, .3, .45, .6, .8, .9))
    kind = rng.choices(("number", "word"), (.8, .2))[0]
    open_magic(rng, document, kind, False)
    facts = {}
    while len(document.ids) < num_context:
        key = compound(rng)
        if key in facts:
            continue
        facts[key] = magic_value(rng, kind)
        document.add(f"One of the special magic {kind}s for {key} is: {facts[key]}.\n")
    form = draw_form(rng)
    ask_all(rng, document, [lambda key=key: magic_question(rng, document, form, kind, key, [facts[key]]) for key in facts])
    return document


PAIR_LINKS = (":", " is", " is:", " is:", " is:", " mentioned in the text is", "?", "\": \"")


def pairs(rng, length):
    """The densest form: short pairs, then their keys again. Keys of one token at first, then two."""
    document = Document(length)
    limit = length // 10
    count = min(limit, rng.choice((2, 3, 4, 4, 6, 6, 8, 12, 20)))
    two = rng.random() < .5
    keys = distinct((lambda: compound(rng)) if two else (lambda: rng.choice(NOUNS + ADJECTIVES)), count)
    kind = rng.random()
    if kind < .4:
        draw = lambda: " " + rng.choice(NOUNS + CITIES + NAMES + VERBS)
    elif kind < .6:
        draw = lambda: " " + compound(rng)
    elif kind < .75:
        draw = lambda: " " + digits(rng, 3)
    else:
        draw = lambda: " " + number(rng)
    told = rng.choice(PAIR_LINKS)
    asked = told if rng.random() < .7 else rng.choice(PAIR_LINKS)
    opening = rng.choice(("", "", "", " for", "One of the special magic numbers for"))
    stop = rng.choice(("", ".", ",", ";", "\n", ".\n"))
    values = {key: draw() for key in keys}
    for key in keys:
        document.add(f"{opening} {key}{told}{values[key]}{stop}")
    document.add("\n")
    while not document.is_full():
        key = rng.choice(keys)
        document.add(f" {key}")
        document.hint(values[key])
        document.add(asked)
        document.next_target = None
        document.add_answer(values[key])
        document.add(stop)
    return document


def entries(rng, length):
    """A list of keys with values as JSON, then keys again."""
    document = Document(length)
    choice = rng.random()
    draw_key = (lambda: compound(rng)) if choice < .92 else (lambda: hexes(rng, 6)) if choice < .96 else (lambda: uuid(rng))
    draw_value = draw_key if choice >= .92 else rng.choice((lambda: number(rng), lambda: number(rng), lambda: compound(rng)))
    if rng.random() < .6:
        document.add("The JSON object below maps keys to values. Find the value of the key that is asked for after it.\n\n")
    document.add("JSON data:\n{")
    num_context = length * rng.choice((.15, .3, .45, .6, .8))
    gap = rng.choice((", ", ",\n "))
    values = {}
    while len(document.ids) < num_context or not values:
        key = draw_key()
        if key in values:
            continue
        if values:
            document.add(gap)
        values[key] = draw_value()
        document.add(f"\"{key}\": \"{values[key]}\"")
    document.add("}\n\n" if rng.random() < .8 else "}\n")

    def question(key):
        form = rng.random()
        if form < .4:
            document.add(f"\"{key}")
            document.hint(values[key])
            document.add("\": \"")
            document.add_answer(values[key] + "\"")
            document.add("\n")
        else:
            prefix = "The value associated with the specified key is:" if form < .8 else "Corresponding value:"
            document.ask(f"Key: \"{key}\"", "\n", prefix, f" \"{values[key]}\"" if form < .5 else f" {values[key]}", key)

    ask_all(rng, document, [lambda key=key: question(key) for key in values])
    return document


def draw_name(rng, num_letters):
    return "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(num_letters))


def all_variables(value, names):
    """(question, answer prefix)."""
    return (f"Question: Find all variables that are assigned the value {value} in the text above.",
            f" Answer: According to the chain(s) of variable assignment in the text above, {len(names)} variables are assigned "
            f"the value {value}, they are: ")


def add_variable_example(rng, document):
    """RULER's example before the task: short names, hardly any noise."""
    names, value = distinct(lambda: draw_name(rng, 3), 5), str(rng.randint(10000, 99998))
    lines = [f"VAR {names[0]} = {value}\n"] + [f"VAR {b} = VAR {a}\n" for a, b in zip(names, names[1:])]
    for i in sorted((rng.randrange(6) for _ in range(rng.randint(0, 3))), reverse=True):
        lines.insert(i, NOISE + "\n")
    document.add("Memorize and track the chain(s) of variable assignment hidden in the text.\n\n" + "".join(lines) +
                 "".join(all_variables(value, names)) + " ".join(names) + "\n\n")


def variables(rng, length):
    """Chains of assignments; asked for all variables of a value, or for the value of one."""
    document = Document(length)
    num_chains = 1 if rng.random() < .5 else rng.randint(1, max(1, min(4, length // 120)))
    easy = rng.random() < .3
    num_letters = rng.choice((3, 5, 5)) if not easy else 1
    names = distinct(lambda: draw_name(rng, num_letters), num_chains * 5)
    chains, lines = [], []
    for i in range(num_chains):
        num_hops = rng.choice((1, 2, 2, 3, 4, 4))
        mine = names[5 * i:5 * i + num_hops + 1]
        value = str(rng.randint(10000, 99998))
        chains.append((value, mine))
        lines.append([f"VAR {mine[0]} = {value}"] + [f"VAR {b} = VAR {a}" for a, b in zip(mine, mine[1:])])
    order = [i for i, chain in enumerate(lines) for _ in chain]
    rng.shuffle(order)
    facts = [lines[i].pop(0) for i in order]
    document.add("Memorize and track the chain(s) of variable assignment hidden in the text.\n\n")
    asks_one = rng.random() < .5
    plant(rng, document, facts, context_for(length, num_chains, 90 if asks_one else 60) - len(document.ids), "noise")
    document.add("\n")

    def all_of(value, mine):
        question, prefix = all_variables(value, mine)
        document.ask(question, rng.choice(("\n", "\n", "\n", "")), prefix, " ".join(mine))
        document.add("\n")

    def one_of(value, mine):
        name = rng.choice(mine)
        document.ask(f"Question: What is the value of VAR {name}?", "\n", f"VAR {name} =", " " + value)

    if asks_one:
        ask_all(rng, document, [lambda chain=chain: one_of(*chain) for chain in chains])
    ask_all(rng, document, [lambda chain=chain: all_of(*chain) for chain in chains])
    return document


def copies(rng, length):
    """A run of words or characters, repeated."""
    document = Document(length)
    vocabulary = ADJECTIVES + NOUNS + NAMES + CITIES + VERBS + ALPHABET
    count = rng.randint(8, max(9, min(60, length // 4)))
    choice = rng.random()
    if choice < .6:
        segment = "".join(" " + rng.choice(vocabulary) for _ in range(count))
    elif choice < .75:
        segment = "".join(" " + rng.choice(ALPHABET) for _ in range(count))
    elif choice < .9:
        segment = " " + uuid(rng)
    else:
        segment = "".join(" " + number(rng) for _ in range(max(1, count // 5)))
    document.add(segment + ".")
    while not document.is_full():
        document.add(" Repeat:")
        document.add(segment + ".", 1.0)
    return document


def passkeys(rng, length):
    """InfiniteBench's pass key, sometimes with people's own keys."""
    document = Document(length)
    document.add("An important piece of information is hidden in a lot of irrelevant text. Find it and keep it in mind: you "
                 "will be asked for it.\n\n")
    subjects = ["pass key"] if rng.random() < .6 else [f"pass key of {name}" for name in rng.sample(NAMES, rng.randint(1, 6))]
    if rng.random() < .15:
        subjects = ["sequence of digits"]
    keys = {subject: digits(rng, 10 if subject[0] == "s" else 5) for subject in subjects}
    facts = [f"The {subject} is {key}. Remember it. {key} is the {subject}." for subject, key in keys.items()]
    plant(rng, document, facts, context_for(length, len(facts), 24) - len(document.ids), "noise" if rng.random() < .7 else None)
    document.add("\n\n" if rng.random() < .7 else "\n")

    def question(subject):
        if rng.random() < .2:
            document.ask(f"What is the {subject}?", "", "", keys[subject])
        else:
            document.ask(f"What is the {subject}?", "\n", f"The {subject} is", " " + keys[subject], subject)

    ask_all(rng, document, [lambda subject=subject: question(subject) for subject in subjects])
    return document


def duo(rng, length):
    """DuoAttention's passkeys, small ones."""
    document = Document(length)
    count, num_words = rng.randint(1, 6 if length > 256 else 3), rng.choice((3, 4, 4, 6, 8))
    keys = [" ".join(rng.choice(ALPHABET) for _ in range(num_words)) for _ in range(count)]
    facts = [f"Remember this sequence of words, it is the {ordinal} passkey to the vault: {key}" for ordinal, key in zip(ORDINALS, keys)]
    document.add("This is a very long story book: <book> ")
    plant(rng, document, facts, context_for(length, count, 24 + num_words) - 20, "prose")
    document.add(" </book>.\n\n")

    def question(i):
        document.ask(f"Based on the content of the book, what is the {ORDINALS[i]} passkey to the vault?", "\n",
                     "Passkey:", " " + keys[i], f"{ORDINALS[i]} passkey")
        document.add("\n\n")

    ask_all(rng, document, [lambda i=i: question(i) for i in range(count)])
    return document


def reasons(rng, length):
    """HeadKV's needle: the favourite thing of the older or younger of two, asked directly as well."""
    document = Document(length)
    groups = 1 if rng.random() < .6 else rng.randint(1, max(1, length // 200))
    people = rng.sample(NAMES, 2 * groups)
    things = {name: f"{rng.choice(OUTINGS)} and {rng.choice(PASTIMES)}" for name in people}
    ages = dict(zip(people, rng.sample(range(8, 81), len(people))))
    facts = []
    for a, b in zip(people[::2], people[1::2]):
        likes = [f"{name}'s favourite thing is to {things[name]}." for name in (a, b)]
        rng.shuffle(likes)
        facts.append(" ".join(likes) + f" {a} is {ages[a]} years old. {b} is {ages[b]} years old.")
    plant(rng, document, facts, context_for(length, groups, 65), "prose")
    end_context(rng, document)

    def question(i, choice):
        a, b = people[2 * i:2 * i + 2]
        if choice < .6:
            older = rng.random() < .5
            name = a if (ages[a] > ages[b]) == older else b
            question = f"What is the favourite thing of the {'older' if older else 'younger'} of the two, {people[2 * i]} or {people[2 * i + 1]}?"
            document.ask("Based on the content of the book, Question: " + question, "\n", "Answer:",
                         f" {name}'s favourite thing is to {things[name]}.")
        elif choice < .75:
            older = rng.random() < .5
            name = a if (ages[a] > ages[b]) == older else b
            document.ask(f"Who is {'older' if older else 'younger'}, {a} or {b}?", "\n", "Answer:", f" {name}")
        elif choice < .85:
            document.ask(f"How old is {a}?", "\n", f"{a} is", f" {ages[a]} years old.")
        else:
            document.ask(f"What is the favourite thing of {a}?", "\n", f"{a}'s favourite thing is", f" to {things[a]}.")

    ask_all(rng, document, [lambda i=i: question(i, rng.random()) for i in range(groups)])
    return document


def homes(rng, length):
    """Where people live; and the latest place of people who move about."""
    document = Document(length)
    if rng.random() < .6:
        people = rng.sample(NAMES, rng.randint(1, max(2, min(16, length // 30))))
        cities = {name: rng.choice(CITIES) for name in people}
        plant(rng, document, [f"{name} lives in {city}." for name, city in cities.items()], context_for(length, len(people), 16))
        end_context(rng, document)

        def home(name):
            document.ask(f"Where does {name} live?", rng.choice((" ", "\n", "\n")), f"{name} lives in", f" {cities[name]}.", name)

        ask_all(rng, document, [lambda name=name: home(name) for name in people])
        return document
    document.add("Facts about people, places and things stand in the text below, in the order in which they came about. "
                 "Everything else in it is of no matter.\n\n")
    where, facts = {}, []
    for _ in range(rng.randint(2, 8)):
        name = rng.choice(PEOPLE)
        where[name] = rng.choice([place for place in PLACES if place != where.get(name)])
        facts.append(f"{name} {rng.choice(MOVES)} the {where[name]}.")
    plant(rng, document, facts, context_for(length, len(where), 24) - 25, "prose")
    document.add("\n\n")

    def place(name):
        document.ask(f"Where is {name} now? Answer with one word, the name of a place.", "\n", f"Answer: {name} is in the",
                     f" {where[name]}")

    ask_all(rng, document, [lambda name=name: place(name) for name in where])
    return document


def fact_sheets(rng, length):
    """RULER's made-up documents: people and houses, one fact asked for or two that lead to each other."""
    document = Document(length)
    ask_only = "Answer the question from the given documents only. Give nothing but the answer, without any other words."
    document.add(ask_only + "\n\n")
    count = rng.randint(1, max(1, (length - 150) // 180))
    sheets, questions = [], []
    for name, house in zip(distinct(lambda: f"{rng.choice(NAMES)} {rng.choice(NAMES)}", count),
                           distinct(lambda: f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}".title(), count)):
        born_in, home = rng.sample(CITIES, 2)
        born, trade, kind, city, founded = (str(rng.randint(1900, 1989)), rng.choice(TRADES), rng.choice(HOUSES),
                                            rng.choice(CITIES), str(rng.randint(1700, 1899)))
        sheets.append(f"{name}\n{name} was born in {born_in} in the year {born}. {name} lives in {home} now. The trade of "
                      f"{name} is that of a {trade}.")
        sheets.append(f"The {house}\nThe {house} is a {kind} in {city}. It was founded in the year {founded}. The keeper of "
                      f"the {house} is {name}.")
        asked = [(f"In which year was the {house} founded?", founded), (f"In which city is the {house}?", city),
                 (f"In which city was {name} born?", born_in), (f"In which city does {name} live now?", home),
                 (f"What is the trade of {name}?", trade), (f"In which year was {name} born?", born),
                 (f"In which city does the keeper of the {house} live now?", home),
                 (f"What is the trade of the keeper of the {house}?", trade),
                 (f"In which year was the keeper of the {house} born?", born)]
        questions += rng.sample(asked, 4)
    rng.shuffle(sheets)
    document.add("\n\n".join(f"Document {i}:\n{sheet}" for i, sheet in enumerate(sheets, 1)))
    document.add("\n\n" + ask_only + "\n\n")
    ask_all(rng, document, [lambda q=q, a=a: document.ask("Question: " + q, "\n", " Answer:", " " + a) for q, a in questions])
    return document


def frequent_words(rng, length):
    """RULER's common words, and coded words."""
    document = Document(length)
    if rng.random() < .75:
        num_common = rng.choice((1, 2, 3, 10))
        num_rest = max(10, min(400, (length - 170) // 4 - 6 * num_common))
        listed = rng.sample(ADJECTIVES + NOUNS + VERBS, min(num_common + num_rest, 500))
        common = listed[:num_common]
        listed = listed[num_common:] + common * 6
        rng.shuffle(listed)
        document.add("Below is a numbered list of words. Some of the words occur in it more often than the others; memorize "
                     "those.\n" + " ".join(f"{i}. {word}" for i, word in enumerate(listed, 1)) + "\n")
        answers = " " + " ".join(f"{i}. {word}" for i, word in enumerate(sorted(common, key=listed.index), 1))
        document.ask(f"Question: What are the {num_common} most common words in the above list?", "\n",
                     f" Answer: The top {num_common} words that appear most often in the list are:", answers)
        return document
    coded = distinct(lambda: "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(6)), 8)
    budget = max(20, (length - 120) // 6)
    counts = [max(1, int(budget * r**-2.0 / 1.645)) for r in range(1, 9)]
    listed = ["..."] * counts[0] + [word for word, n in zip(coded, counts[1:]) for _ in range(n)]
    rng.shuffle(listed)
    document.add("Read the coded text and track how often each coded word occurs; find the three most frequent coded words.\n" +
                 " ".join(listed) + "\n")
    document.ask("Question: Do not provide any explanation. Please ignore the dots '....'. What are the three most frequently "
                 "appeared words in the above coded text?", "\n",
                 " Answer: According to the coded text above, the three most frequently appeared words are:",
                 " " + " ".join(coded[:3]))
    return document


TASKS = {task.__name__: task for task in (needles, one_needle, needle_list, pairs, entries, variables, copies, passkeys, duo,
                                          reasons, homes, fact_sheets, frequent_words)}


def sample(rng, length, mix):
    """A training text of `length` tokens after its first one, which is BOS: (ids, targets, weights). One document, or several
    shorter ones in a row, each with its BOS. `mix` maps names of TASKS to shares."""
    name = rng.choices(list(mix), list(mix.values()))[0]
    part = length if length <= 128 else rng.choices((length, length // 2, length // 4), (.6, .25, .15))[0]
    ids, targets, weights = [], [], []
    while len(ids) <= length:
        room = length - len(ids)
        document = TASKS[name](rng, min(part, room) if room > 64 else part)
        ids += [tokenizer.BOS] + document.ids
        targets += [tokenizer.BOS] + document.targets
        weights += [0.0] + document.weights
    return ids[:length + 1], targets[1:length + 1], weights[1:length + 1]
