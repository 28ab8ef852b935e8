"""Writes tests/corpora/tokenizers/strings.jsonl: 2,000 strings, one JSON string a line, to compare tokenizers on.

Usage: token_strings.py; it needs nothing and writes the same file each time. The sentences are this file's own and say
nothing. What a line is for can be read off its content: a language, emoji, code, white space, the spelling of a special
token, or code points that no text should have. No string holds a surrogate, so all are UTF-8.
"""

import json
import pathlib
import random
import unicodedata

OUTPUT = pathlib.Path(__file__).parent.parent / "corpora" / "tokenizers" / "strings.jsonl"
COUNT = 2000
LONGEST = 700  # bytes; a longer one is cut at a character

SENTENCES = """
The kettle sings, and nobody's listening; we'll've drunk it cold by half-past nine. I'd say they're late, DON'T you?
Der Igel überquert nachts die Straße, während Jörgs Großmutter Äpfel schält. Größenänderungsgeschwindigkeit!
L'hiver, où l'on n'a que du thé, s'achève enfin : « quelle joie ! » dit-elle, aujourd'hui même, à Besançon.
¿Dónde está el ñandú? Mañana, según el pingüino, lloverá sobre la montaña; ¡qué extraño!
A avó não põe açúcar no café, mas o avô quer pão-de-ló às três. Coração, ação, irmã.
Perché il gatto è già più in là? Così fa, finché può; dell'acqua n'è rimasta pochissima.
De zeeën zijn ruw en 's ochtends vriest het; Daniëls fiets staat vóór het huis, één meter naast de gracht.
På ön står en gammal kvarn. Åsa äter ärtsoppa på torsdagar, fast egentligen vill hon ha blåbärspaj.
Æblet falder ikke langt fra stammen, siger Søren på Ærø; rødgrød med fløde står på bordet.
Hvør er tú? Í dag er veðrið gott, og Þórður þvær ullina sína við lækinn. Ég á fjóra hesta.
Yöllä järven jää ulvoo, eikä kukaan tiedä, miksi hääyöaie syöksyi öylättiin. Epäjärjestelmällisyys.
Põhjas on öö väga lühike; jõeäärne tee lookleb küla poole. Kuuüür ja jäääär.
Zażółć gęślą jaźń: w Szczebrzeszynie chrząszcz brzmi, a źdźbło trawy drży na wietrze.
Příliš žluťoučký vlak přijel pozdě. Třistatřicettři stříbrných křepelek letělo přes řeku.
Vyšší dub rastie pri ceste; ľahký vánok kýva päťdesiatimi konármi. Ôsmy deň, štyri hŕby.
Az árvíztűrő gép megőrült: a szőlőből űrhajó lett. Legeslegmegszentségteleníthetetlenebb.
Și totuși, în țara aceea, băiatul își ținea șapca în mână. Câinii lătrau până în zori.
Ağaçların gölgesinde İsmail çay içiyor, ışık ırmağa düşüyor. Çekoslovakyalılaştıramadıklarımızdan.
Ngày mai trời sẽ mưa ở phía bắc; người đàn ông bán phở đã dọn hàng từ sớm. Đường về nghiêng nghiêng.
Kesho asubuhi tutaenda sokoni kununua mahindi; watoto wamelala bado. Ninakupenda sana.
Ọjọ́ dára lónìí, ṣùgbọ́n òjò ń bọ̀ ní alẹ́. Ẹ káàárọ̀ o, báwo ni ilé?
Hom nay? Hindi, bukas pa ang alis ng bangka, sabi ni Aling Nena. Nagpapakasaya-saya siya.
Kucing itu tidur-tiduran di atas atap rumah; hujan baru saja reda. Mempertanggungjawabkannya.
Γιατί η θάλασσα είναι σήμερα τόσο ήσυχη; Ο παππούς λέει πως θα 'ρθει άνεμος. ΆΝΕΜΟΣ, Ἄνεμος.
Съешь ещё булочку, пока чай горячий: подъезд закрыт, вьюга воет, а ёлка — в углу. ЩЁЛОЧЬ.
Її їжак з'їв ґудзик, а під'їзд залили водою. Європейська єдність, щось іще?
Ўчора ў лесе выў воўк; мы з'елі дзве бульбіны й пайшлі. Снег ляжыць.
Ђак Њогош је љубитељ џема; Ћуприја је тиха. Ljubičasti džemper čeka u ćošku.
Защо щъркелът стои на едно краче? Ъгълът е остър, а синьото небе — празно.
Բարի լույս, ընկեր։ Սարի գագաթին ձյուն կա, իսկ ձորում՝ ծաղիկներ։ Եւ այսպէս։
ზამთარი მოვიდა და მდინარე გაიყინა. ბაყაყი წყალში ყიყინებს. ᲓᲘᲓᲘ ᲐᲡᲝᲔᲑᲘ.
הילדה קוראת ספר ליד החלון, והחתול ישן. שָׁלוֹם עֲלֵיכֶם, צה״ל, ג׳ירפה.
الكتابُ على الطاولةِ، والقطةُ نائمةٌ تحتها. السَّلَامُ عَلَيْكُمْ؛ أين المفتاح؟ ١٢٣٤٥ لا إله.
گربه‌ای روی دیوار نشسته است و می‌خواهد بپرد؛ چه روزِ قشنگی! ۱۴۰۳/۰۹/۰۱ پنج‌شنبه.
بچے صحن میں کھیل رہے ہیں اور دادی چائے بنا رہی ہیں۔ کیا آپ ٹھیک ہیں؟
सुबह नदी के किनारे कोहरा था; बच्चे स्कूल जा रहे हैं। क्षत्रिय, ज्ञान, श्री, कर्म, हिन्दी १२३।
আজ সকালে বৃষ্টি হয়েছে, তাই মাঠে জল জমেছে। ক্ষমা, ত্রিশ, র‍্যাব, ৳৫০০।
ਅੱਜ ਮੌਸਮ ਬਹੁਤ ਸੋਹਣਾ ਹੈ; ਦਾਦੀ ਜੀ ਕਹਾਣੀ ਸੁਣਾਉਂਦੇ ਹਨ। ੧੨੩
આજે બજારમાં કેરી સસ્તી છે; દાદા છત્રી ભૂલી ગયા. ક્ષણ, જ્ઞાન.
ଆଜି ପାଗ ଭଲ ଅଛି, ନଦୀରେ ଡଙ୍ଗା ଚାଲୁଛି। କ୍ଷୀର।
காலையில் மழை பெய்தது; குழந்தைகள் பள்ளிக்குச் செல்கிறார்கள். ஸ்ரீ, க்ஷ, ௧௨௩.
ఈ రోజు వాన పడింది; పిల్లలు ఆడుకుంటున్నారు. క్షమించండి, స్త్రీ, జ్ఞానం.
ಇಂದು ಮಳೆ ಬಂತು; ಅಜ್ಜಿ ಕಥೆ ಹೇಳುತ್ತಾಳೆ. ಕ್ಷಮಿಸಿ, ಸ್ತ್ರೀ, ೧೨೩.
ഇന്ന് മഴ പെയ്തു; കുട്ടികൾ കളിക്കുന്നു. അവൻ്റെ, അവന്‍റെ, ക്ഷമ, ന്റ.
අද උදේ වැස්ස; ළමයි පාසල් යති. ශ්‍රී ලංකාව, ක්‍ෂණය, ද්‍රව්‍ය.
วันนี้ฝนตกหนักมาก แมวนอนอยู่ใต้โต๊ะ ยายทำน้ำพริกกะปิ ๑๒๓ ฯลฯ ก็ได้นะครับ
ມື້ນີ້ຝົນຕົກ ແມວນອນຢູ່ໃຕ້ໂຕະ ສະບາຍດີບໍ່
ဒီနေ့ မိုးရွာတယ်။ ကလေးတွေ ကျောင်းသွားကြတယ်၊ အဘွားက ပုံပြောပြတယ်။ ၁၂၃
ថ្ងៃនេះមេឃភ្លៀង ក្មេងៗទៅសាលារៀន ខ្មែរ ស្រុក ១២៣។
དེ་རིང་ཆར་པ་འབབ་ཀྱི་འདུག། བཀྲ་ཤིས་བདེ་ལེགས། སྐྱེས་སྟོབས་ཅན།
今天下雨了，猫在窗台上睡觉；奶奶说：“明天会晴的。”二〇二六年十一月，共１２３个。
臺灣的夜市裡，蚵仔煎的香味飄過巷口；「龜」與「鬱」筆畫很多。𠮷野家、𪚥、㐂。
吾輩は猫ではない。雨の日、カメラとコーヒーを持って駅へ急ぐ…「きゃっ！」と叫んだ。ｶﾀｶﾅ、がぎぐ、㍿、々。
오늘 아침에 비가 왔어요. 고양이는 창가에서 자고, 할머니는 떡볶이를 만드신다. 뷁, 햏, ㅋㅋㅋㅋ ㅠㅠ.
ዛሬ ዝናብ ዘነበ፤ ልጆቹ ትምህርት ቤት ሄዱ። ሰላም ነው? ፩፪፫
ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᎣᏏᏲ. ꭳꮟꮿ
ᐃᓄᒃᑎᑐᑦ ᐊᓪᓚᒃᑐᖅ ᐅᓪᓗᒥ ᓯᓚᓯᐊᖅ.
ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ ᠪᠣᠷᠣᠭᠠᠨ. Өнөөдөр бороо орлоо, хөгшин эмээ ү.
ꦲꦏ꧀ꦱꦫ ꦗꦮ ᬩᬮᬶ ᮞᮥᮔ᮪ᮓ
ⵜⴰⵎⴰⵣⵉⵖⵜ ⴰⵙⵙⴰ ⵉⵡⵜ ⵓⵏⵥⴰⵔ
ܫܠܡܐ ܥܠܝܟܘܢ ހަމަކަންތައް ߒߞߏ ߞߊ߲
𐌰𐍄𐍄𐌰 𐌿𐌽𐍃𐌰𐍂 ᚠᚢᚦᚨᚱᚲ 𓀀𓂀𓆣 𒀀𒁀 𝕳𝖊𝖑𝖑𝖔 𝟙𝟚𝟛 𝔘𝔫𝔦
"""

EMOJI = (
    "👨‍👩‍👧‍👦 👩🏽‍🚀 👍🏿 🏳️‍🌈 🏴‍☠️ 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🇩🇪 🇯🇵🇧🇷 🇩 ❤️ ❤ ☎️ ☎︎ 1️⃣ #️⃣ 😀 😃😃😃 🤷🏻‍♀️ 🧑‍🤝‍🧑 🫠 🫨 👁️‍🗨️ ☃ ✂️ ©️ ™ ⌚ 🎅🏾 👯‍♂️ 🐻‍❄️ "
    "\u200d👩 👩\u200d \U0001f3fd \ufe0f 🀄 ♟️ 💅🏼💅🏽 🙂\u200b🙃 🧿 🪿"
).split()

CODE = r"""
fn main() -> Result<(), Box<dyn Error>> {|    let v: Vec<u8> = b"\x00\xff".to_vec();|    println!("{v:?}"); // ok|}
impl<'a, T: ?Sized + 'static> Deref for Ref<'a, T> { type Target = T; }|#[derive(Debug, Clone)]|pub struct X(u32);
def f(x, *args, **kw):|    '''Doc.'''|    return {k: v for k, v in kw.items() if v is not None} or [i**2 for i in range(10)]
@dataclass|class A_B(Base):|	x: int = 0x1F|	y: str = f"{x!r:>10}"|	async def __aenter__(self): ...
const f = async ({a, ...b}) => { await fetch(`/x/${a}?q=1`); return a ?? b?.c ?? null; };|/* eslint-disable */|x ||= 0b1010_1010n;
export default function App(): JSX.Element {|  return <div className="x">{items.map((i) => <Li key={i} />)}</div>;|}
#include <stdio.h>|#define MAX(a,b) ((a)>(b)?(a):(b))|int main(void){char *s="a\tb\\n";for(int i=0;i<10;++i)printf("%5d%%\n",i);return 0;}
template<typename T> auto f(T&& t) -> decltype(std::forward<T>(t)) { return t <=> t, std::cout << "x" << std::endl; }
public static void main(String[] args) throws IOException {|        Map<String, List<Integer>> m = new HashMap<>();|        m.computeIfAbsent("k", k -> new ArrayList<>()).add(1);|}
func (s *Server) Serve(ctx context.Context) error {|	select {|	case <-ctx.Done():|		return ctx.Err()|	case c := <-s.ch:|		go c.run()|	}|}
SELECT u."name", COUNT(*) AS n FROM users u LEFT JOIN t ON t.id = u.t_id WHERE u.age >= 18 AND name LIKE 'O''B%' GROUP BY 1 ORDER BY n DESC;
#!/usr/bin/env bash|set -euo pipefail|for f in "$@"; do [[ -f $f ]] && sed -i 's/\s\+$//g' "$f" || echo "no: ${f##*/}" >&2; done
<!DOCTYPE html><html lang="en"><head><title>&amp;&nbsp;&#x1F600;</title><style>a:hover>b{color:#ff00ff;margin:0 auto}</style></head>
main :: IO ()|main = mapM_ (print . foldr (\x acc -> x + acc) 0) [[1..10], [x | x <- [1..], even x] !! 3 : []]
module M = struct|  let rec f = function [] -> 0 | _ :: t -> 1 + f t|end;; (* ocaml *) let () = Printf.printf "%d\n" (M.f [1;2])
(defun fact (n) (if (<= n 1) 1 (* n (fact (- n 1)))))|;; lisp '(quote a) `(a ,b ,@c) #'car
[package]|name = "x"|version = "0.1.0"||[dependencies]|serde = { version = "1", features = ["derive"] }
apiVersion: v1|kind: Pod|metadata:|  labels: {a: b, "c": 'd'}|spec:|  - name: x|    value: |-|      text
diff --git a/x b/x|--- a/x|+++ b/x|@@ -1,3 +1,4 @@| a|-b|+c|+    d
0000000 7f45 4c46 0201 0100|0x7fffdeadbeef ^[[31mred^[[0m %s %d %08x \u00e9 \x1b \\\\ //// ---- ==== ____
"""

DOCUMENTS = r"""
{"name": "get_weather", "arguments": {"city": "Zürich", "days": 3, "units": null, "ok": true, "x": [1, 2.5, -3e-7]}}
[{"a":{"b":{"c":[[],[[]],{}]}}},"\u00e9\n\t\"\\",1E+10,-0.0,{"":""}]
{|  "tools": [|    {|      "type": "function",|      "function": {"name": "f", "parameters": {"$ref": "#/$defs/x"}}|    }|  ]|}
# Title||Some *emphasis*, **strong**, ***both***, `code`, ~~gone~~ and [a link](https://example.org "t").||- [ ] one|- [x] two|    1. three
| a | b |||---|:-:||| 1 | 2 |||> quote|>> deeper||```rust|let x = 1;|```||![img](x.png)  |next[^1]||[^1]: note
\begin{align*}|  \int_0^\infty e^{-x^2}\,\mathrm{d}x &= \frac{\sqrt{\pi}}{2} \\|  \forall \epsilon > 0,\; \exists \delta\label{eq:1}|\end{align*}
$$\sum_{n=1}^{\infty} \frac{1}{n^2} = \frac{\pi^2}{6}$$ and $E=mc^2$, \(a \neq b\), \textbf{x}~\cite{knuth84}, $\mathbb{R}^{n\times m}$
https://user:pass@example.com:8080/a/b.html;p=1?q=%20%C3%A9&x[]=1&y=a+b#frag-ment_1 and http://xn--bcher-kva.example/ü
mailto:a.b+c@sub.example.co.uk, ftp://[2001:db8::1]/x, file:///C:/Users/Ünï/x%20y.txt, C:\Windows\System32\x.dll, /usr/lib/../bin/*.so.6
www.example.org/watch?v=dQw4w9WgXcQ&t=42s data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ
2026-11-21T23:59:60.123456789+05:30 INFO [worker-7] weir::engine: step=42 took 1.23ms (p99=4.5µs) 192.168.0.1 10:30 p.m. $1,234.56 €9,99 ±5°C 50%
3f2504e0-4f89-11d3-9a0c-0305e82c3301 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 v1.2.3-rc.1+b5 ISBN 978-3-16-148410-0
∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β = ¬(¬α ∨ β), ℕ ⊆ ℕ₀ ⊂ ℤ, ⊥ < a ≠ b ≡ c ≤ d ≪ ⊤ ⇒ (⟦A⟧ ⇔ ⟪B⟫), x² + y³ ≈ ½·10⁻⁶ ‰
┌─┬─┐ ╔═╗ █▓▒░ ■□▪ ←↑→↓ ✓✗ ★☆ ♠♥♦♣ ♩♪♫ ⠁⠃⠉ ☰ ① Ⅷ ㎏ ﬁ ﬀ Ǆ ẞ ſ ı … – — ‘x’ “y” „z” ‹› «» • · † ‡ § ¶
The model said 'tis, y'all'd've, rock'n'roll, O'Brien's, it’s, we’re, I’VE, DON’T, 'S 'T 'RE 'VE 'M 'LL 'D ''s 'ſ
snake_case_name camelCaseName PascalCaseNAME kebab-case-name SCREAMING_CASE x86_64 utf8mb4 iPhone15Pro H2O a1b2c3 1st 2nd MacOS-ARM64 foo.bar::baz->qux
"""

SPECIALS = (
    "<|im_start|> <|im_end|> <|endoftext|> <|begin_of_text|> <|end_of_text|> <|eot_id|> <|start_header_id|> <|end_header_id|> <|python_tag|> "
    "<|eom_id|> <s> </s> <unk> <pad> <bos> <eos> <mask> [INST] [/INST] <<SYS>> <</SYS>> [TOOL_CALLS] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] "
    "[TOOL_RESULTS] [/TOOL_RESULTS] [PREFIX] [MIDDLE] [SUFFIX] [IMG] [CONTROL_8] <SPECIAL_20> <start_of_turn> <end_of_turn> <start_of_image> "
    "<unused0> <unused6241> [@BOS@] <2mass> [multimodal] <table> <tr> </code> <h1> <｜User｜> <｜Assistant｜> "
    "<｜begin▁of▁sentence｜> <｜end▁of▁sentence｜> <｜▁pad▁｜> <｜fim▁hole｜> <｜tool▁calls▁begin｜> <｜tool▁call▁end｜> <｜tool▁sep｜> <|EOT|> "
    "<｜place▁holder▁no▁7｜> ｜DSML｜ <think> </think> <tool_call> </tool_call> <tool_response> <|fim_prefix|> <|vision_start|> <|image_pad|> "
    "<|repo_name|> <|startoftext|> <|return|> <|constrain|> <|channel|> <|start|> <|end|> <|message|> <|call|> <|reserved_200000|> "
    "<|START_OF_TURN_TOKEN|> <|END_OF_TURN_TOKEN|> <|USER_TOKEN|> <|CHATBOT_TOKEN|> <BOS_TOKEN> <EOS_TOKEN> <PAD> <UNK> [CLS] [SEP] [MASK] [PAD] "
    "[UNK] [unused1] <|user|> <|assistant|> <|system|> <|reserved_special_token_0|> <|finetune_right_pad_id|> <jupyter_start> <empty_output> "
    "<0x0A> <0xFF> <0x00> ▁ ▁▁ Ġ ĠĠ Ċ ##ing"
).split()

SPACES = (
    " ,  ,   ,    ,        ,\t,\t\t,\n,\n\n,\n\n\n,\r\n,\r\n\r\n,\r,\u00a0,\u3000,\u2003,\u2009,\u200a,\u202f,\u205f,\u1680,\u2028,\u2029,"
    "\x0b,\x0c,\x85,\u200b,\u200c,\u200d,\u2060,\ufeff,\u180e,\u00ad, \n,\n , \t ,\t \n"
).split(",")

ODD = [
    *map(chr, [*range(0, 9), *range(14, 32), 0x7F, *range(0x80, 0xA0)]),
    *map(chr, [0xD7FF, 0xE000, 0xF8FF, 0xFDD0, 0xFFEF, 0xFFF9, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x1FFFF, 0xE0001, 0xE007F, 0xF0000]),
    *map(chr, [0x10FFFF, 0x378, 0x530, 0x2FE0, 0x3FFFD, 0x202A, 0x202E, 0x2066, 0x2069, 0x61C, 0x34F, 0x115F, 0x3164, 0xFFA0, 0x7FF, 0x800]),
]

COMBINING = [chr(code) for code in (*range(0x300, 0x330), 0x338, 0x345, 0x35C, 0x489, 0x5B0, 0x64B, 0x670, 0x93C, 0x94D, 0xE49, 0x20DD, 0x20E3, 0x3099, 0xFE20)]
BLOCKS = [(0x20, 0x7E), (0xA0, 0x24F), (0x250, 0x52F), (0x530, 0x7FF), (0x900, 0xDFF), (0xE00, 0x109F), (0x10A0, 0x1CFF)]
BLOCKS += [(0x1D00, 0x206F), (0x2070, 0x2BFF), (0x2E80, 0x33FF), (0x3400, 0x9FFF), (0xA000, 0xD7A3), (0xF900, 0xFFFD), (0x10000, 0x1FAFF)]
BLOCKS += [(0x20000, 0x323AF), (0xE0000, 0xE01EF)]


def lines(text):
    """The lines of a table above; in code and documents `|` ends a line of the text where the table says so."""
    return [line for line in text.strip("\n").split("\n")]


def words_of(text):
    return [word for line in lines(text) for word in line.split()]


class Maker:
    def __init__(self):
        self.random = random.Random("weir tokenizers")
        self.words = words_of(SENTENCES)
        self.texts = lines(SENTENCES)
        self.code = [line.replace("|", "\n") if "|" in line else line for line in lines(CODE) + lines(DOCUMENTS)]

    def pick(self, items):
        return self.random.choice(items)

    def some(self, make, low, high, joint=""):
        return joint.join(make() for _ in range(self.random.randint(low, high)))

    def word(self):
        return self.pick(self.words)

    def sentence(self):
        text = self.pick(self.texts)
        change = self.pick([str, str.upper, str.lower, str.title, str.swapcase, lambda t: t.replace(" ", ""), lambda t: t[::-1]])
        return change(text)

    def part(self):
        """Some stretch of a sentence, cut anywhere."""
        text = self.pick(self.texts)
        begin = self.random.randrange(len(text))
        return text[begin : begin + self.random.randint(1, 90)]

    def emoji(self):
        return self.some(lambda: self.pick(EMOJI) + self.pick(["", " ", "", self.word()]), 1, 8)

    def combining(self):
        base = self.pick([self.word(), "e", "Å", "ﬁ", "가", "が", "क", "ộ", "Ω", "K", "ẛ̣", "日", "1", " "])
        text = "".join(c + self.some(lambda: self.pick(COMBINING), 0, 2) for c in base)
        form = self.pick(["NFC", "NFD", "NFKC", "NFKD", None])
        return unicodedata.normalize(form, text) if form else text

    def normal_forms(self):
        return unicodedata.normalize(self.pick(["NFC", "NFD", "NFKC", "NFKD"]), self.part())

    def source(self):
        text = self.pick(self.code)
        begin = self.random.randrange(len(text)) if self.random.random() < 0.5 else 0
        return text[begin:].replace("    ", self.pick(["    ", "\t", "  ", "    "])).replace("\n", self.pick(["\n", "\n", "\r\n"]))

    def number(self):
        digits = self.pick(["0123456789"] * 5 + ["٠١٢٣٤٥٦٧٨٩", "０１２３４５６７８９", "०१२३४५६७८९", "²³¹½¼①Ⅻ㊿〇五"])
        run = self.some(lambda: self.pick(digits), 1, 24)
        return self.pick(["", " ", "-", "+", "$", "#", "v", "x", "0x", "."]) + run + self.pick(["", "", ".", "%", "th", "e-5", ",000", "px", " "])

    def space(self):
        run = self.pick(SPACES) * self.pick([1, 1, 2, 3, 5, 17])
        return self.pick(["", self.word(), "x", "1", "."]) + run + self.pick(["", self.word(), self.pick(SPACES)])

    def special(self):
        token = self.pick(SPECIALS)
        token = self.pick([token] * 5 + [token[:-1], token[1:], token.upper(), token[0] + token, token * 2])
        around = ["", "", " ", "\n", "  ", "\t", self.word(), "a", "1", "é", "."]
        return self.pick(around) + token + self.pick(around)

    def odd(self):
        return self.pick(ODD) + self.pick(["", self.pick(ODD), "a", " ", self.word()])

    def long_word(self):
        unit = self.pick(["a", "ab", "Ha", "=", "-", "é", "字", "А", "\u0e01", "👍", "0", "/", "un", self.word(), "aA1_", "\u200b", "🇩", "क्"])
        return unit * self.random.randint(20, 90)

    def scripts(self):
        return self.some(self.word, 2, 8, self.pick(["", " ", "-", "", "/"]))

    def noise(self):
        low, high = self.pick(BLOCKS)
        return self.some(lambda: chr(self.random.randint(low, high)), 1, 12)

    def character(self):
        while True:
            code = self.random.randrange(1 << self.pick([7, 11, 16, 17, 20]))
            if not 0xD800 <= code < 0xE000:
                return chr(code)

    def ascii(self):
        return self.some(lambda: chr(self.random.randint(32, 126)), 1, 60)

    def mixture(self):
        makers = [self.word, self.part, self.emoji, self.combining, self.number, self.space, self.special, self.odd, self.noise, self.ascii]
        return self.some(lambda: self.pick(makers)(), 2, 5, self.pick(["", " ", ""]))

    def all(self):
        """Every fixed text once, then each maker's share."""
        yield from ["", *self.texts, *self.code, *SPECIALS, *SPACES, *ODD, *EMOJI, *(".".join(SPECIALS[i : i + 12]) for i in range(0, 100, 12))]
        shares = [(lambda: self.some(self.sentence, 1, 4, " "), 150), (self.part, 100), (self.emoji, 60), (self.combining, 120)]
        shares += [(self.normal_forms, 70), (lambda: self.some(self.source, 1, 2, "\n"), 130), (self.long_word, 40), (self.scripts, 80)]
        shares += [(lambda: self.some(self.number, 1, 5), 110), (lambda: self.some(self.space, 1, 5), 130), (self.ascii, 50)]
        shares += [(lambda: self.some(self.special, 1, 5), 200), (lambda: self.some(self.odd, 1, 5), 50)]
        shares += [(lambda: self.some(self.noise, 1, 4), 90), (lambda: self.some(self.character, 1, 30), 80), (self.mixture, 10**6)]
        for make, share in shares:
            for _ in range(share):
                yield make()


def distinct():
    seen = set()
    for text in Maker().all():
        text = text.encode()[:LONGEST].decode(errors="ignore")
        if text not in seen:
            seen.add(text)
            yield text
        if len(seen) == COUNT:
            return


if __name__ == "__main__":
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    # Line separators that a reader of lines might stop at are escaped, and so are bytes an editor might change.
    escape = {ord(c): f"\\u{ord(c):04x}" for c in "\x7f\x85\u2028\u2029\ufeff"}
    rows = [json.dumps(text, ensure_ascii=False).translate(escape) for text in distinct()]
    OUTPUT.write_text("\n".join(rows) + "\n", newline="\n")
    print(f"{len(rows)} strings, {OUTPUT.stat().st_size} bytes")
