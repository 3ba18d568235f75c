// The words that fill the sentences of the built-in prose, by the letter that stands for them
// there.
#include <array>

#include "eval/task/prose.h"
#include "eval/task/word_list.h"

namespace pith {
namespace {

struct Category {
  char letter;
  const char* words;
};

constexpr Category kCategories[] = {
    // P: people by what they do or are
    {'P', R"(
accountant acrobat actor actress adviser alderman apprentice archer architect artist astronomer
athlete auctioneer aunt author baker banker barber bartender beekeeper blacksmith bookbinder
bookkeeper bookseller botanist bricklayer brother builder butcher butler buyer cabinetmaker
caretaker carpenter cashier caterer chairman champion chaplain chauffeur chemist chef clerk
clockmaker coach cobbler collector colonel comedian composer conductor constable consultant cook
cooper coppersmith councillor courier cousin craftsman critic curator customer dairymaid daughter
deacon dealer decorator dentist designer diplomat director doctor doorman draper dressmaker driver
drummer dyer economist editor electrician engraver examiner explorer farmer farmhand father
ferryman fiddler firefighter fisher fishmonger flautist florist foreman forester gamekeeper
gardener geologist glassblower glazier goldsmith governor grandfather grandmother grocer guard
guest guide hairdresser harpist hatter headmaster healer herbalist historian hostess housekeeper
hunter husband illustrator innkeeper inspector instructor interpreter inventor janitor jeweller
joiner journalist judge juggler keeper laborer lamplighter landlady landlord laundress lawyer
lecturer librarian lieutenant locksmith lodger logger maid major manager mason mathematician mayor
mechanic merchant messenger midwife milkman miller miner minister moderator monk mother musician
neighbor nephew niece novelist nun nurse officer optician organist painter parson passenger pastor
patron pensioner pharmacist philosopher photographer physician pianist picker pilot plasterer
player plumber poet porter postman potter priest printer professor publisher pupil ranger
receptionist reporter researcher rider roofer saddler sailor scholar scientist scout sculptor
seamstress secretary sergeant servant shepherd sheriff shipwright shoemaker shopkeeper singer
sister smith soldier soloist son stonemason stranger student surgeon surveyor tailor tanner teacher
tenant thatcher tinker toolmaker tourist trader trainee translator traveller treasurer tutor umpire
uncle usher valet veteran vicar villager visitor volunteer waiter waitress warden watchmaker weaver
welder wheelwright widow wife winemaker woodcarver woodcutter worker writer zoologist
)"},
    // J: how a thing is
    {'J', R"(
acceptable aged airy antique awkward bare beautiful bent big blank bluish bulky cheap checkered
chipped circular clean clumsy coarse colored comfortable common compact complete complicated costly
cracked cream crude cute damaged damp decent delicate dented dirty discarded dull durable dyed
embroidered enormous excellent expensive faded familiar famous fashionable favorite feeble festive
fine finished flat flawless flimsy folded foreign forgotten fresh functional glazed gleaming good
gorgeous graceful gray greasy greenish handmade handsome handy harmless heavy homemade huge
imported impressive inherited intact interesting kept knitted labelled lacquered large lasting
light little locked long loose lost lovely magnificent massive matching mended minor missing modest
mottled muddy narrowed neat new nice oblong official oily old ordinary ornate oval painted patched
peculiar perfect pink pointed portable practical precious pretty priceless proper pure ragged
rattling rectangular reddish repaired reliable rented replaced respectable rigid ripe round rugged
rusty scratched scruffy scrubbed second shaky shallow shapeless shiny short silky simplified
sizable slender slippery smelly smudged sooty spacious speckled splendid spotless square squeaky
stained sticky stiff stolen stout straight strange strong stylish suitable superb supple tangled
tarnished tasteful tattered tested thick thin tight torn tough traditional treasured trimmed
twisted ugly unfinished unusual upright valuable varnished vast waterproof
waxed wet whole wide winding wobbly woollen worn worthless woven wrinkled yellowish
)"},
    // K: how a person is
    {'K', R"(
absent alert amiable amused angry annoyed anxious ashamed astonished bashful bewildered bored busy
capable careful cautious charming cheerful comical competent confident confused considerate content
courteous cunning delighted determined devoted diligent disappointed eccentric energetic
enthusiastic envious exhausted experienced faithful fortunate frail friendly frightened frugal
furious generous gifted gloomy good-natured grateful greedy gruff happy hard-working helpful
hopeful hospitable hungry impatient impolite industrious inquisitive jealous jovial kind learned
likeable loyal mischievous nervous obedient observant obstinate optimistic pensive persistent
pleasant pleased polite popular prudent punctual puzzled relaxed reliable relieved reserved
resourceful respected retired rude sad satisfied sensible serious shrewd sincere skilful sociable
stubborn surprised suspicious sympathetic talented talkative tired troubled trusting truthful upset
watchful welcoming willing witty worried youthful
)"},
    // O: things that are handled
    {'O', R"(
accordion album alarm apron armchair ashtray atlas axe backpack bag bandage banjo basket bathtub
bed bedspread belt bench bicycle binder blackboard blanket blender blouse board bobbin bolt
bonnet book bookcase bookmark boot bottle bowl bowstring box bracelet brick briefcase broom brooch
brush bucket buckle bulb bureau button cabinet cable calendar camera cap card cardigan carpet cart
case cask chain chair chandelier chart chest chisel cigar clamp clip clipboard clock cloak cloth
clothesline coat coin collar comb compact concertina container cork costume cot couch counter cover
crate crayon cup cupboard curtain cushion cutter decanter desk dial diary dictionary dish
doll door doorbell doorknob drawer drawing dress dresser drill duster dustpan easel envelope eraser
fan faucet fence figurine file flag flask flowerpot folder footstool fork frame funnel gadget
gear glass globe glove gown grater grill guidebook hairbrush hammer hammock handbag handcart
handkerchief handle hanger hat hatchet headscarf heater hinge hoe hook hose icebox ink
inkstand iron jacket jar jersey jug keyboard knapsack knife knob ladder ladle lamp lampshade
lawnmower leash ledger lens letter lever lid loom lunchbox machine magazine mallet mandolin map
mask mat matchbox mattress medallion menu microscope mitten mop mosaic motor mousetrap mug napkin
necklace net newspaper notebook notice oar oboe organ ornament oven overcoat package padlock pail
paintbrush painting pan paperweight parasol parcel parchment pen pencil penknife photograph pickaxe
picture pillow pillowcase pin pipe pitcher plank plate platter plough pocketbook portrait
postcard poster pot potholder pouch press projector pulley pump puppet purse quill quilt racket
radiator radio rail rake razor record recipe refrigerator ribbon ring robe rope rucksack rug ruler
saddlebag sandal satchel saucepan saucer saw scale scarf screen screwdriver sculpture
scythe sewing-machine shaker shawl sheet shelf shirt shoe shovel sickle sieve signboard
skillet skirt sled sleeve slipper sock sofa spade spanner spinning-wheel sponge spool
spoon stamp stapler stepladder stocking stool stopwatch stove strap strainer suitcase sweater
switch table tablecloth tambourine tankard tape tapestry tarpaulin teacup teapot telephone
telescope tent thermometer thimble ticket tie tile toaster toolbox toothbrush towel toy tray
tricycle tripod trombone trophy trowel trunk tub tumbler typewriter umbrella urn vacuum
vase vest visor waistcoat wallet wardrobe washbasin watch wheel wheelbarrow whisk whistle wig
workbench wreath wrench wristwatch xylophone yardstick
)"},
    // F: what is eaten, drunk or stored
    {'F', R"(
bacon barley batter beef beer biscuit-dough bran bread broth butter buttermilk cabbage cake candy
caramel cereal cheese cheesecake chicken chocolate chowder chutney cider cinnamon cocoa coffee
cornbread cornmeal cream-cheese crumble custard dessert dough dressing dumpling-soup fish flour
fruit fudge garlic gelatin ginger gingerbread goulash granola gravy ham honey horseradish icing jam
jelly juice ketchup lamb lard lasagna lemonade lentil-soup liquorice macaroni malt margarine
marinade marmalade marzipan mayonnaise meat meatloaf milk mincemeat molasses muesli mustard mutton
noodle-soup nougat oatmeal oil omelette paprika parsley pasta pastry pie pizza popcorn pork
porridge pudding punch relish rice risotto rye salad salami salt sauce sauerkraut sausage sherbet
sorbet soup soy spaghetti spinach steak stew stuffing sugar syrup tea thyme toast toffee treacle
vanilla venison vinegar wheat whey wine yeast yogurt
)"},
    // L: places
    {'L', R"(
academy airport aisle alley apartment aquarium archway arena armory attic auditorium backyard
bakery balcony ballroom bank barn barracks basement bathroom bay beach bedroom boathouse bookshop
boulevard brewery brickyard building bungalow bus-stop cafe cafeteria campsite canal
cave cellar cemetery chalet chapel church cinema citadel city classroom clearing clinic 
clubhouse college conservatory convent corner corridor council-hall courthouse courtyard creamery
crossing crossroads dairy dam depot dining-room district ditch dock doorway dormitory driveway
embassy entrance estate exhibition factory fairground farm farmhouse farmyard fireplace fishery
foundry foyer gallery garage gasworks graveyard greenhouse grocery guesthouse gymnasium hall
hallway hamlet hangar hatchery hedge henhouse highway hostel hospital house hut hydrant ice-rink
infirmary inlet inn institute jail jetty junction kennel kindergarten kiosk kitchen laboratory lane
laundry lawn library loading-bay lobby lodge loft lounge mansion marina marsh mews mezzanine mine
monastery monument moor mosque motel museum nursery office outhouse pantry park parlor parsonage
pasture patio pavement pavilion pier playground plaza police-station porch port post-office prison
promenade pub quay racecourse railing railway ranch rectory refectory reservoir restaurant road
roof salon sawmill school schoolyard shed shipyard shop showroom sidewalk sanatorium 
stable stadium staircase station storeroom street studio suburb swamp synagogue tannery tavern
terrace theater toolshed town track tram-stop vault veranda vestibule vicarage village
villa vineyard waiting-room warehouse waterfall wharf woodshed workshop yard zoo
)"},
    // V: what somebody did with a thing
    {'V', R"(
abandoned accepted acquired adjusted admired adored altered appreciated arranged assembled balanced
begged-for bent-over borrowed bought broke brought brushed buried cared-for carried carved caught
checked chose claimed cleaned collected concealed copied covered craved criticized cut damaged
dealt-with decorated delivered described desired destroyed detested discovered disliked displayed
donated dragged drew dropped dusted emptied enjoyed envied examined exchanged exhibited favored
fetched filled finished fixed folded followed forgot found framed gathered gave-away glued grabbed
guarded handed-over handled hated held hid hired hoisted hung hurled identified ignored imported
improved inspected invented kept kicked knocked-over labelled laid-down lent lifted liked located
looked-for lost loved lowered made mended misplaced missed mocked moved named needed noticed
offered opened ordered overlooked owned packed painted patched pawned photographed picked-up placed
planned pointed-at pointed-out praised prepared presented preserved preferred priced prized
protected pulled pushed put-away raised reached-for recalled received recognized recommended
reduced refused rejected remembered removed rented repaired replaced requested rescued respected
restored returned rinsed ruined saved scratched scrubbed searched-for selected sent-back shared
shipped showed sketched smelled sold sorted spoiled spotted stacked stained stole stored stretched
studied supplied swapped tapped tested threw-out tidied-up tied took touched traced transported
treasured tried-out trusted turned-over unpacked unwrapped used valued varnished wanted washed
watched weighed wiped won wrapped
)"},
    // W: what somebody did
    {'W', R"(
apologized argued arrived awoke bathed bowed breathed camped chatted chuckled climbed coughed cried
danced daydreamed dined disappeared dozed drifted escaped exercised fainted farmed fidgeted fished
fought frowned gardened gasped giggled gossiped grinned grumbled halted hesitated hiked hummed
hurried joked jogged jumped knelt laughed leaned lingered listened marched meditated mumbled
muttered nodded paced panicked paused performed prayed quarrelled ran read rejoiced relaxed rested
returned-home rode rowed sang sat scolded shivered shouted shrugged sighed slept smiled sneezed
snored sobbed spoke stammered stayed stood strolled struggled stumbled swam talked travelled
trembled vanished waited walked wandered waved wept whispered winked woke worked worried yawned
yelled
)"},
    // D: how it was done
    {'D', R"(
absently accidentally angrily anxiously awkwardly badly bluntly boldly bravely briefly briskly
calmly carefully carelessly casually cautiously cheerfully cleverly clumsily coldly comfortably
completely confidently constantly correctly courteously curiously deliberately delicately
diligently directly discreetly dutifully eagerly easily elegantly endlessly evenly faithfully
firmly fondly frankly frequently generously gently gladly gracefully gradually gratefully greedily
happily hastily heartily helplessly honestly hopefully humbly hurriedly idly immediately
impatiently instantly jealously joyfully keenly kindly laboriously lazily lightly loosely loudly
lovingly loyally merrily methodically modestly mysteriously neatly nervously nimbly noisily
obediently occasionally openly painfully patiently peacefully perfectly playfully politely poorly
promptly properly proudly punctually quickly quietly rapidly rarely readily reluctantly repeatedly
roughly rudely sadly safely secretly seldom selfishly sensibly seriously sharply shyly silently
skilfully sleepily slowly smoothly softly solemnly steadily sternly stiffly stubbornly suddenly
suspiciously swiftly tactfully tenderly thankfully thoroughly thoughtfully tightly timidly
tirelessly unexpectedly urgently usefully vaguely warily warmly wearily willingly wisely
wonderfully
)"},
    // Z: animals
    {'Z', R"(
alligator ant ape baboon bat bear bee bird boar bull bumblebee calf canary cat caterpillar cheetah
chick chimpanzee chipmunk cockerel colt cow crab cricket crocodile crow cub cuckoo deer dog donkey
dove dragonfly duck duckling elk ferret finch firefly foal fly frog gander gecko gerbil gibbon
gnat goat goose gopher gorilla grasshopper guinea-pig gull hamster hare hedgehog hen hippopotamus
hornet horse hound iguana kangaroo kitten ladybird llama lobster lovebird magpie mare marmot
meerkat mole mongoose monkey mosquito mouse mule newt nightingale octopus ostrich ox parakeet
partridge pheasant pig pigeon piglet pony poodle porcupine porpoise puppy quail ram rat reindeer
rhinoceros rooster salamander seagull sheep shrew shrimp skunk sloth slug snail snake spaniel
spider squid squirrel starling stoat tadpole terrier toad tortoise turkey vole vulture wasp weasel
wombat woodpecker worm wren yak
)"},
    // N: several of them
    {'N', R"(
addresses adverts almonds anecdotes apples asparagus-tips asters bagels balls banknotes bananas
bandages bargains batteries beads beans beets berries bills biscuits blackberries blankets blossoms
blueberries boards bookends bookmarks books bottles bouquets bowls boxes branches brambles bricks
brochures brushes bulbs bunches buns bushes buttons cables candlesticks cans cards carnations
carrots cartons catalogues chairs charts cherries chestnuts chrysanthemums cloths coasters coins
compliments containers cookies corks coupons cranberries crates crumbs cucumbers cups curtains
cushions daffodils dandelions dates decorations dishes documents drawings eggs envelopes errands
ferns figs files flags flowers forks garlands garments gifts glasses gloves grapes greetings hats
herbs hinges hyacinths icicles invitations jars jokes jugs keepsakes knots labels lamps leaflets
leeks letters lettuces lids logs lullabies maps matches melodies melons menus messages mittens
mushrooms nails napkins nets newspapers notes nuts oats olives onions oranges orders ornaments
pamphlets pancakes papers parcels parsnips patterns peaches peanuts pears peas pencils peonies
photographs pickles pictures pillows pins plates plays plugs plums poems postcards posters potatoes
presents prunes pumpkins puppets puzzles questions radishes raisins raspberries receipts recipes
records reports ribbons riddles rings ropes rumors sacks samples sandwiches sardines scarves screws
seedlings seeds shells shelves shirts shoelaces shoes shrubs sketches slates snacks socks songs
sonnets souvenirs spices spoons stamps stationery-sets stickers stories strawberries strings
suggestions sunflowers tales tickets tiles tomatoes tools toys trays turnips umbrellas vegetables
vines violas walnuts warnings weeds wires
)"},
    // G: pastimes
    {'G', R"(
acting archery arguing arithmetic astronomy athletics badminton baking ballet baseball basketball
beekeeping billiards boating bookbinding bowling boxing brewing camping canoeing cards-and-dice
carpentry carving chemistry chess climbing composing cooking crocheting croquet cycling dancing
diving dominoes draughts drawing-lessons embroidery engraving fencing fishing flying football
gambling gardening geology geometry gliding golfing grammar gymnastics handicraft hiking history
hockey hunting ice-skating jogging juggling keyboard-playing knitting lacrosse mathematics
meditation metalwork mountaineering music needlework origami painting-lessons parachuting patchwork
philosophy photography physics ping-pong poetry politics pottery puppetry quilting racing reading
riding rowing rugby running sailing sculpting sewing shooting singing skating sketching skiing
sleeping snooker spelling squash stamp-collecting surfing swimming tailoring talking tap-dancing
tennis theatricals thinking volleyball walking wandering waterpolo weaving weightlifting whittling
woodwork wrestling writing yoga
)"},
    // E: what cannot be touched
    {'E', R"(
absence accident accuracy advantage advice affection agreement ambition anger answer argument
arrangement arrival atmosphere attempt attitude bargain beauty beginning behavior belief birthday
boredom care caution celebration ceremony chance change charity choice comfort complaint concern
conclusion confidence confusion conversation courage courtesy curiosity custom danger debate debt
decision delay delight departure despair detail difference difficulty disagreement disappointment
discipline discovery discussion dispute doubt duty education effort elegance embarrassment
encouragement enthusiasm event evidence example excitement excuse expense experience experiment
explanation failure fairness faith fame fashion fault fear festival friendship fun gossip gratitude
greed grief habit happiness harm harmony haste hatred health help hesitation holiday honesty hope
hospitality humor hunger idea illness imagination importance impression improvement incident
influence insult interest invention jealousy joke journey joy judgement justice kindness knowledge
laughter law lecture leisure lesson luck luxury meaning meeting memory mercy misery mistake modesty
mood mystery need neighborliness nonsense nostalgia opinion opportunity order pain party patience
pause peace performance plan pleasure politeness popularity poverty praise pride privilege problem
profit progress promise proposal protest proverb punishment purpose quarrel question reason
reception recovery regret relief remark remedy rescue respect responsibility result reunion reward
rhyme risk rule rumor sadness safety satisfaction scandal sense shame silence skill smell solution
sorrow speech story success suggestion superstition surprise suspicion sympathy talent task taste
temptation tension theory thought thrift tradition trick trouble truth understanding vacation
victory view visit voyage wages wealth weather wedding welcome wisdom wish wit wonder work worry
)"},
    // B: to do something with a thing
    {'B', R"(
abandon acquire admire alter auction bring build burn buy carry carve catch check choose clean
collect conceal copy cover cut dig-up draw drop dust enjoy examine exchange exhibit fetch fill find
finish fix fold forget gather glue hang hide hire hold inspect keep label lend lift locate lock
lose lower make mend move notice offer open order own pack paint patch photograph pick-up place
polish-up price pull push put-away raise receive recognize remove rent repair replace rescue
restore return rinse ruin save scrub see sell send-back share show sketch sort stack steal store
stretch study swap take test tie touch transport try-out turn-over unpack unwrap use varnish wash
watch weigh wipe wrap
)"},
    // M: what things are made of
    {'M', R"(
alabaster aluminum asphalt brass cardboard cashmere cement ceramic chalk china clay concrete
corduroy cotton denim ebony enamel felt fiberglass flannel fleece foam gauze gold gravel gypsum
hemp horn lace-work lead leather limestone linen linoleum mahogany metal mica moss mud muslin nylon
paper pewter plaster plastic plywood porcelain quicklime rattan resin rosewood
rubber sackcloth sand sandstone satin sheepskin slate soapstone steel straw suede teak terracotta
tin tinfoil tweed twine veneer wax wicker wire wood wool yarn zinc
)"},
    // T: when
    {'T', R"(
after-breakfast after-church after-dinner after-lunch after-sundown after-supper after-work
all-afternoon all-day all-evening all-morning all-night as-at-daybreak at-dusk at-last
at-midday at-midnight at-nightfall at-noon at-once before-breakfast before-dawn before-dinner
before-lunch before-supper by-lamplight day-after-day during-lunch every-afternoon every-day
every-evening every-month every-morning every-night every-other-week every-summer every-week
every-winter for-a-fortnight for-a-month for-a-while for-a-week for-an-hour for-hours for-weeks
for-years from-time-to-time in-April in-August in-December in-February in-January in-July in-June
in-March in-May in-October in-September in-summer in-the-afternoon in-the-evening in-the-meantime
in-the-morning in-winter last-Friday last-Monday last-Saturday last-Sunday last-Thursday
last-Tuesday last-Wednesday last-month last-night last-summer last-week last-winter last-year
now-and-then on-Friday on-Monday on-Saturday on-Sunday on-Thursday on-Tuesday on-Wednesday
on-rainy-days on-weekdays once-a-month once-a-week one-afternoon one-day one-evening one-morning
one-night that-afternoon that-evening that-month that-morning that-night that-summer that-week
that-winter that-year the-day-before the-next-day the-next-morning the-other-day the-same-evening
the-same-week this-morning twice-a-week twice-a-year within-a-week within-an-hour without-delay
yesterday
)"},
    // S: spoke
    {'S', R"(
added admitted agreed announced answered boasted cautioned conceded concluded confessed confided
declared explained guessed hinted insisted mentioned muttered noted pleaded pointed-out
promised protested remarked repeated replied reported said stated suggested swore whispered wrote
)"},
};

}  // namespace

const std::vector<std::string>& ProseCategory(char letter) {
  static const auto lists = [] {
    std::array<std::vector<std::string>, 26> all;
    for (const Category& category : kCategories) {
      for (const std::string_view word : SplitWords(category.words)) {
        std::string text(word);
        // A hyphen joins what the prose writes apart.
        for (char& c : text) c = c == '-' ? ' ' : c;
        all[static_cast<size_t>(category.letter - 'A')].push_back(std::move(text));
      }
    }
    return all;
  }();
  return lists.at(static_cast<size_t>(letter - 'A'));
}

}  // namespace pith
