// The sentences of the built-in prose. A capital letter that stands alone (A and I excepted) is a
// blank, to be filled with a word of that category of prose_words.cc.
#include "eval/task/prose.h"

namespace pith {

const char kProseFrames[] = R"(
The J O in the L belonged to the P, who V it T.
The K P V the J O D.
My P V the J O near the L.
T the P V a J O and ate F at the L.
Our P W D because the J O was gone.
The P from the L V a J O made of M.
A J O stood beside the J O in the L.
The P and the P W together T in the L.
Nobody at the L knew why the K P V the O.
The P wanted to B the J O T.
It was the K P who V the O in the L.
The Z slept under the J O in the L.
Some F was all that the P had for the P.
T we saw a Z behind the L, and the P W.
The P kept the N in a J O.
There were N and N on the table in the L.
The P taught G to the children of the P T.
Her P liked G more than the E of G.
His P had no E for G, but the P was K.
The E of the K P pleased everybody in the L.
They talked about E and E T in the L.
The K P had to B the O before the P W.
A K P W D while the P V the O.
The J O cost more than the J O in the L.
We ate F with F at the L T.
The P cooked F for the K P and the P.
You could smell the F from the L, and the K P W.
The P S that the J O was ready.
The P S D that the O would be of use in the L.
The P poured the F into a J O.
My P grew N behind the L and gave them to the P.
The N were too J for the P of the L.
The P sold N, N and F at the L.
T the P came to the L with a J O.
The way to the L led past the J L and the L.
Behind the L there was a J O full of N.
In the L the P V an old O and a J O.
The Z and the Z lived near the L.
A K P fed the Z with F T.
The Z followed the P as far as the L.
The P S that G was better than G.
To B a J O takes E and E.
Without E nobody can B a O as J as that.
The P needed E, and the P had plenty of E.
The M on the J O was as fine as M.
The J O was made of M and lined with M.
The P bought M to B the J O.
We stayed at the L T, and the P V our O.
The P met the P in front of the L T.
Two K people W in the L T.
Three of the N were J, and the P V the rest D.
The K P smiled when the P V the J O.
The children of the P W D behind the L.
The P lost a J O on the way to the L.
The P found out T that the O was J.
The P showed us how to B the J O.
The P asked the P to B the O T.
The P forgot to B the N, so the P W.
The P hoped to B the J O with some E.
It took E to B the J O in the L.
The K P V every O in the L T.
Most of the N in the L came from the P.
A few N lay in the J O next to the L.
The P put the N into the O and W D.
The P gave the Z some F and V the O.
The Z ran across the L with the J O of the P.
The Z hid in the L until the P W.
Our P has a Z that likes F and N.
The P drew a picture of the Z near the L.
The P wrote about the L and the E of its people.
The story of the P and the J O is about E.
The P read a book about G in the L T.
The P learned G from a K P.
G in the L was the only E of the P.
G and G were the pastimes of the K P.
The P gave up G for the sake of G T.
T, G kept the P out of the L.
The P was K, and the P was K too.
The P felt K after the long E at the L.
The more the P W, the more the P was K.
Although the P was K, the P V the J O.
Since the O was J, the P V it D.
Because of the E, the P V the O T.
In spite of the E, the P W D in the L.
After the E the P and the P met at the L.
Before the E the P V the N of the P.
During the E the K P W D.
There was E in the L when the P V the O.
There was no E left, and the K P W T.
The P blamed the E on the J O.
The P thanked the P for the N and the F.
The P paid the P for the J O and the N.
The P owed the P a J O and some F.
The P traded a J O for a J O T.
The P and the K P shared the F in the L.
The F in the O was J, so the P V it.
The F tasted of F and F.
The P mixed F with F in a J O.
The K P never ate F without F.
T there is F at the L for the P.
The best F comes from the L of the K P.
The recipe of the P needs F, F and N.
The P hung the J O on the wall of the L.
The P leaned the J O against the door of the L.
The P set the J O on the floor of the L D.
A J O hung above the J O in the L.
Under the J O the P found N and a J O.
Inside the J O were N, a J O and some M.
On top of the J O the P V a O of M.
Between the L and the L there is a J L.
Opposite the L stands the J house of the P.
The road from the L to the L was J T.
The bus to the L was late, and the K P W.
The train stopped near the L, where the P W.
The wind blew N across the L T.
Rain fell on the L T, and the P V the O.
Snow covered the L, so the P V a J O.
The sky above the L was J, and the P W D.
The clouds over the L were J T.
The weather made the P K and the P K.
T the air in the L smelled of F and M.
The floor of the L was covered with M and N.
The walls of the L were painted by a K P.
The doors of the L were made of M and M.
The roof of the L was J, but the P was K.
The lights in the L went out, and the P W D.
The P waited in the L for the K P T.
The P walked from the L to the L with a J O.
The P cycled past the L T to B a O.
The P drove the P to the L to B the N.
The P carried the J O up to the L D.
The P pushed the J O through the L D.
The P left the J O at the L for the P.
The P returned to the L T without the J O.
The P moved from the J L to the L T.
The P lived above the L and V the J O.
The P worked in the L and W T.
The P opened a J L and V a O.
The P closed the L T to B the O.
The P cleaned the L while the P V the N.
The P decorated the L with N and J M.
The P built a L out of M and M.
The P planned to B the L with N.
The P dreamed of E and a J O.
The P talked of E, but the P wanted E.
The P knew a good deal about E and G.
The P had a talent for G and an eye for E.
The E of the P was known in the L and the L.
The E between the P and the P lasted T.
The P's E was greater than the P's E.
The P's O was J, and the P's O was J.
The P's Z ate the F of the K P.
Neither the P nor the P V the J O.
Both the P and the P V the N D.
Either the P or the P V the F T.
Not even the K P could B the J O.
Perhaps the P V the J O T.
Of course the P V the O with E.
For once the P W D in the L.
To our E the K P V the J O.
With great E the P V the N.
With a J O in hand, the P W D.
From the L you can see the L and a J L.
Everyone in the L V the J O of the P.
Someone V the P's J O in the L.
Many of the P's N were in the L T.
All the N in the O were J.
None of the N was as J as the O.
The last of the N went to the K P.
The first thing the P V was a J O.
The second O was J, unlike the O from the L.
The other P V the N and W.
The same P V the J O T.
Another P came to the L to B the F.
Such a J O is rarely seen in the L.
What the P V was not a O but a J O.
Where the L used to be, the P V a J O.
When the P W, the Z W D.
If the P were K, the P would B the O.
Unless the P is K, nobody will B the N.
As soon as the P W, the P V the J O.
As long as the F lasts, the P is K.
As far as the P knew, the O was in the L.
So K was the P that the P V the O.
Too K to wait, the P V the J O D.
How the K P V the O is a question of E.
Why the P W in the L remained a J E.
The P told the P a joke about the Z and the O.
The P sang of E and E T.
The P played a tune in the L, and the P W D.
The P danced in the L with the K P T.
The P spilled F on the J O of the P.
The P dropped the J O into the F.
The P tripped over the O and W D.
The P hid the N from the P in the L.
The P mistook the J O for a O of M.
The P wrapped the N in M for the P.
The P sewed a J O from M for the P.
The P painted the O with a J brush T.
The P repaired the O with M and E.
The P cut the M and V the J O.
The P weighed the F and V the N D.
The P counted the N in the L T.
The P sorted the N into a J O.
The P stored the F in the L next to the O.
The P ordered N from the L and F from the P.
The P sent N to the P at the L.
The P wrote to the P about the J O.
The P called the P T about the E of the Z.
The P spoke D of the P and the E.
The P argued with the P about E T.
The P agreed with the P that the O was J.
The P doubted that the K P V the O.
The P believed in E and in G.
The P laughed at the Z with the J O.
The P cared for the Z and V the O.
The P looked after the N of the K P.
The P searched the L for the J O T.
The P guarded the O in the L D.
The Z in the L frightened the K P.
The Z and the P W D in the J L.
The Z liked the F but not the N.
The Z carried the J O to the P D.
A Z sat on the J O and watched the Z.
No Z is as K as the Z of the P.
)";

}  // namespace pith
