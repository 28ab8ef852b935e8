//! Documents made for the check: so many words of plain prose in which ten facts are hidden, far from one another.
//!
//! Words are drawn as in real text, a few of them again and again and most of them seldom, so that neither a question's words
//! are rare in the document nor its sentences alike.

/// A fact, word for word as it stands there, and a question about it.
pub struct Fact {
    pub fact: &'static str,
    pub question: &'static str,
}

const fn fact(fact: &'static str, question: &'static str) -> Fact {
    Fact { fact, question }
}

pub const ENGLISH: [Fact; 10] = [
    fact(
        "The password of the lighthouse is cormorant seven.",
        "What is the password of the lighthouse?",
    ),
    fact(
        "Agnes Toller keeps nineteen beehives behind the chapel.",
        "How many beehives does Agnes Toller keep?",
    ),
    fact(
        "The bridge at Wexcombe was closed in the winter of 1911.",
        "When was the bridge at Wexcombe closed?",
    ),
    fact(
        "Captain Ibsen is afraid of moths.",
        "What is Captain Ibsen afraid of?",
    ),
    fact(
        "The recipe calls for three pinches of saffron.",
        "How much saffron does the recipe call for?",
    ),
    fact("Room 414 has no window.", "Which room has no window?"),
    fact(
        "The comet Varga returns every 83 years.",
        "How often does the comet Varga return?",
    ),
    fact(
        "Milo hid the violin under the piano stairs.",
        "Where did Milo hide the violin?",
    ),
    fact(
        "The vineyard belongs to the dentist Okafor.",
        "Who owns the vineyard?",
    ),
    fact(
        "Ferries to Skarholm leave at dusk on Thursdays.",
        "When do ferries to Skarholm leave?",
    ),
];

pub const CHINESE: [Fact; 10] = [
    fact("灯塔的密码是鸬鹚七号。", "灯塔的密码是什么？"),
    fact(
        "阿格尼丝在教堂后面养了十九箱蜜蜂。",
        "阿格尼丝养了多少箱蜜蜂？",
    ),
    fact(
        "威克斯桥在一九一一年冬天关闭。",
        "威克斯桥是什么时候关闭的？",
    ),
    fact("易卜生船长害怕飞蛾。", "易卜生船长害怕什么？"),
    fact("这道菜需要三撮藏红花。", "这道菜需要多少藏红花？"),
    fact("四一四号房间没有窗户。", "哪个房间没有窗户？"),
    fact("瓦尔加彗星每八十三年回来一次。", "瓦尔加彗星多久回来一次？"),
    fact("米洛把小提琴藏在钢琴楼梯下面。", "米洛把小提琴藏在哪里？"),
    fact("那片葡萄园属于牙医奥卡福。", "那片葡萄园是谁的？"),
    fact(
        "开往斯卡霍姆的渡轮每周四黄昏出发。",
        "开往斯卡霍姆的渡轮什么时候出发？",
    ),
];

/// Words of the English document, and characters of the Chinese one, which has about two words in three of them.
pub const WORDS: usize = 60_000;
const CHARACTERS: usize = 90_000;

const STARTS: [&str; 24] = [
    "b", "br", "c", "cl", "d", "dr", "f", "fl", "g", "gr", "h", "k", "l", "m", "n", "p", "pl", "r",
    "s", "st", "t", "tr", "v", "w",
];
const MIDDLES: [&str; 12] = [
    "a", "e", "i", "o", "u", "ai", "ea", "oo", "ou", "er", "an", "in",
];
const ENDS: [&str; 10] = ["", "n", "r", "st", "ld", "ng", "t", "m", "ck", "sh"];
const COMMON: [&str; 40] = [
    "the", "of", "and", "a", "in", "to", "was", "it", "that", "he", "for", "on", "with", "as",
    "his", "they", "at", "be", "this", "from", "had", "by", "not", "but", "what", "all", "were",
    "when", "there", "can", "how", "which", "their", "if", "do", "does", "many", "much", "no",
    "keep",
];
const CHARACTERS_OF_PROSE: &str = "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会家可下而过天去能对小多然于心学么之都好看起发当没成只如事把还用第样道想作种开美总从无情己面最女但现前些所同日手又行意动方期它头经长儿回位分爱老因很给名法间斯知世什两次使身者被高已亲其进此话常与活正感见明问力理尔点文几定本公特做外孩相西果走将月十实向声车全信重三机工物气每并别真打太新比才便夫再书部水像眼等体却加电主界门利海受听表德少克代员许先口由死安写性马光白或住难望教命花结乐色更拉东神记处让母父应直字场平报友关放至张认接告入笑内英军候民岁往何度山觉路带万男边风解叫任金快原吃妈变通师立象数四失满战远格士音轻目条呢";

/// A stream of numbers that looks random and is the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // The upper bits are the random ones, and 31 of them fit everywhere.
        ((self.0 >> 33) as usize) % end
    }
}

/// The English document; another `edition` says other things around the same facts.
pub fn english(edition: u64) -> String {
    let mut numbers = Numbers(edition);
    let mut text = format!("Edition {edition}. ");
    let (mut in_sentence, mut length) = (0, 9);
    for number in 0..WORDS {
        let word = match numbers.below(5) {
            0..=2 => COMMON[numbers.below(COMMON.len())].to_owned(),
            // Twice drawn: words of small numbers are the frequent ones.
            _ => {
                let most = numbers.below(MIDDLES.len() * STARTS.len() * ENDS.len()) + 1;
                made_up(numbers.below(most))
            }
        };
        text.push_str(&word);
        in_sentence += 1;
        if in_sentence == length {
            text.push_str(if numbers.below(8) == 0 { ".\n\n" } else { ". " });
            (in_sentence, length) = (0, 6 + numbers.below(16));
        } else {
            text.push(' ');
        }
        hide(&mut text, number, WORDS, &ENGLISH, ". ", " ");
    }
    text
}

fn made_up(number: usize) -> String {
    let (start, rest) = (number % STARTS.len(), number / STARTS.len());
    let (middle, end) = (rest % MIDDLES.len(), rest / MIDDLES.len());
    [STARTS[start], MIDDLES[middle], ENDS[end % ENDS.len()]].concat()
}

/// The Chinese document.
pub fn chinese(edition: u64) -> String {
    let known: Vec<char> = CHARACTERS_OF_PROSE.chars().collect();
    let mut numbers = Numbers(edition);
    let mut text = format!("第{edition}版。");
    let (mut in_sentence, mut length) = (0, 12);
    for number in 0..CHARACTERS {
        let most = numbers.below(known.len()) + 1;
        text.push(known[numbers.below(most)]);
        in_sentence += 1;
        if in_sentence == length {
            text.push_str(if numbers.below(3) == 0 { "。" } else { "，" });
            (in_sentence, length) = (0, 6 + numbers.below(14));
        }
        hide(&mut text, number, CHARACTERS, &CHINESE, "。", "");
    }
    text
}

/// Puts the next fact in at its place: in the middle of each tenth.
fn hide(text: &mut String, number: usize, all: usize, facts: &[Fact; 10], end: &str, space: &str) {
    let tenth = all / facts.len();
    if number % tenth == tenth / 2 {
        text.push_str(end);
        text.push_str(facts[number / tenth].fact);
        text.push_str(space);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_stands_there_once() {
        for (document, facts) in [(english(1), &ENGLISH), (chinese(1), &CHINESE)] {
            for Fact { fact, .. } in facts {
                assert_eq!(document.matches(fact).count(), 1, "{fact}");
            }
        }
        assert!(english(1).split_whitespace().count() >= WORDS);
        assert_ne!(english(1), english(2));
    }
}
