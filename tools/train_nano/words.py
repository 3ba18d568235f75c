"""The words of the task language. Every one of them is a single token (tokenizer.py)."""

ADJECTIVES = """
amber ancient autumn bitter black blue bold brave bright broken calm clever cold copper coral crimson curious dark deep
distant dusty early eager empty fading faint fierce floral fragile frozen gentle giant golden grand green hidden hollow
humble icy idle ivory jade jolly keen lively lonely loud lucky lunar marble mellow misty modern narrow nimble noble odd
olive pale patient plain polished proud purple quick quiet rapid rare red restless rough royal rustic sandy scarlet secret
shady sharp shy silent silver simple sleepy slim small smooth snowy soft solar solid spare steady still stormy sunny swift
tall tender thirsty tidy tiny velvet vivid warm weary wild windy wise wooden young
""".split()

NOUNS = """
anchor apple arrow basin beacon bell birch bird boat bridge brook candle canyon castle cedar cherry circle cliff cloud
coast comet compass crane creek crown desert dragon eagle echo ember engine falcon feather fern field flame forest fountain
fox garden gate glacier grove harbor hawk heron hill horizon island jungle kettle lagoon lake lantern leaf lemon lily lion
maple market meadow mirror moon mountain oak ocean orchard otter owl palace path pearl pebble pine planet pond prairie
quarry raven reef ridge river robin rocket rose saddle sail shadow shell shore spring star stone stream summit sunset swan
temple thistle thunder tiger timber tower trail tulip tunnel valley violet wagon walnut water whale willow window wolf
""".split()

NAMES = """
Ada Alan Alice Anna Arthur Ben Bella Carl Clara Cora Daniel David Diana Edgar Elena Emma Erik Eva Felix Fiona Frank George
Grace Hanna Henry Hugo Ida Igor Irene Ivan Jack Jane Jonas Julia Karl Kate Laura Leo Linda Lucas Lydia Maria Mark Martha
Max Mira Nadia Nina Noah Nora Olga Oscar Otto Paul Petra Philip Quinn Rita Robert Rosa Ruth Sam Sara Simon Sofia Stella
Theo Thomas Tina Uma Victor Vera Walter Wanda Xavier Yara Yves Zoe
""".split()

CITIES = """
Athens Bergen Berlin Boston Cairo Delhi Dublin Geneva Hanoi Havana Lagos Lima Lisbon London Lyon Madrid Milan Minsk Mumbai
Munich Nairobi Naples Oslo Paris Prague Quebec Quito Riga Rome Seoul Sofia Sydney Tokyo Toronto Tunis Turin Vienna Warsaw
Zagreb Zurich
""".split()

JOBS = """
actor artist baker barber builder butcher captain carpenter chemist clerk cook dancer doctor driver editor farmer fisher
gardener guard hunter judge lawyer librarian miner musician nurse painter pilot plumber poet potter sailor singer smith
tailor teacher trader tutor weaver writer
""".split()

VERBS = """
crossed found followed painted visited watched described admired reached left entered measured guarded explored mapped
remembered
""".split()

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

NOISE = " The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."

# The words around the listed ones. The vocabulary is made of what stands here, so it must name all of them; words that
# no task uses are harmless.
PHRASES = [
    " The", " near the. and then a was In When, of A from said that is said",
    "One of the special magic numbers for is: word words",
    " Question: What is the special magic number for mentioned in the provided text? Answer: are all magic words The numbers",
    " Where does live? lives in What the job of works as a", " The pass key of is. Remember it. is pass key",
    " Here is a list of entries: value Recall:;", " VAR = Find all variables that are assigned the value What", "Repeat:",
    " Repeat: Words: most common", " Does she he they you it his her first second third last next then",
]


def lexicon():
    """All texts whose words must be one token each."""
    texts = [NOISE]
    texts += [f" {word}" for word in ADJECTIVES + NOUNS + NAMES + CITIES + JOBS + VERBS]
    texts += [f"-{noun}" for noun in NOUNS]
    texts += PHRASES
    texts += [f" {letter}" for letter in LETTERS]
    return texts
