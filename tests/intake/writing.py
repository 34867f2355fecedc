"""Writing systems, encodings, structure and boilerplate."""

from collections.abc import Iterator
from textwrap import fill

from tests.intake.case import Case, Result, prose

SCRIPTS = {
    "hindi": "सुबह की हवा ठंडी थी और गाँव के लोग कुएँ पर पानी भर रहे थे। बच्चे पेड़ के नीचे खेल रहे थे और दादी कहानी सुना रही थीं।",
    "tamil": "காலை நேரத்தில் கடற்கரையில் காற்று மெதுவாக வீசியது. மீனவர்கள் தங்கள் படகுகளைத் தயார் செய்தனர்.",
    "hebrew with points": "בַּבֹּקֶר יָצָא הַזָּקֵן אֶל הַשּׁוּק וְקָנָה לֶחֶם חַם. הַיְלָדִים רָצוּ אַחֲרָיו וְשָׁרוּ שִׁיר יָשָׁן.",
    "persian": "صبح زود پیرمرد به باغ می\u200cرفت و درخت\u200cها را آب می\u200cداد. "
    "بچه\u200cها کنار او می\u200cنشستند و گفت\u200cوگو می\u200cکردند.",
    "arabic": "خرج الشيخ إلى السوق في الصباح واشترى خبزا طازجا. كان الأطفال يلعبون قرب النهر ويغنون أغنية قديمة.",
    "russian": "Утром старик вышел на рынок и купил тёплый хлеб. Дети бежали за ним по улице и пели старую песню.",
    "greek": "Το πρωί ο γέρος πήγε στην αγορά και αγόρασε ζεστό ψωμί. Τα παιδιά έτρεχαν πίσω του και τραγουδούσαν.",
    "chinese": "早晨的阳光从窗户照进来，我静静地醒来。街上的人还不多，卖豆浆的老人已经在唱歌。孩子们背着书包往学校走去，风从河边吹来。",
    "japanese": "朝の光が窓から差し込んで、私は静かに目を覚ました。通りにはまだ人が少なく、豆腐屋の老人がもう歌っていた。"
    "子どもたちは学校へ歩いていく。",
    "korean": "아침 햇살이 창문으로 들어와 나는 조용히 눈을 떴다. 거리에는 아직 사람이 적었고 두부 장수가 노래하고 있었다.",
    "thai": "เช้าวันนี้อากาศดีมากและชาวบ้านกำลังเดินไปตลาดเพื่อซื้อขนมปังร้อน ๆ เด็ก ๆ วิ่งเล่นอยู่ริมแม่น้ำ",
    "german": "Am Morgen ging der Alte über die Straße zum Bäcker und kaufte warmes Brot. Die Kinder liefen singend hinter ihm her.",
}

_UKRAINIAN = "Вранці старий вийшов на ринок і купив теплий хліб. Діти бігли за ним вулицею й співали її пісню. "
_TURKISH = "Yaşlı adam sabah çarşıya gitti ve sıcak ekmek aldı. Çocuklar arkasından koşup eski bir şarkı söylüyordu. "
_LITHUANIAN = "Rytą senis išėjo į turgų ir nusipirko šiltos duonos. Vaikai bėgo paskui jį ir dainavo. "
_ICELANDIC = "Snemma morguns, þegar þokan lá enn yfir ánni, gekk gamli maðurinn út úr húsinu og horfði lengi á bakkann. "
_HUNGARIAN = "Árvíztűrő tükörfúrógép. A kisfiú elment a boltba, és vett egy nagy kenyeret meg két üveg tejet. "


def scripts() -> Iterator[Case]:
    """Every word of every script, joiners and points included."""
    for number, (name, text) in enumerate(SCRIPTS.items()):
        yield Case("scripts", name, {f"{number}.txt": f"{text}\n\n{text} {number}\n".encode()}, contains=(text,), kept=1)
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    yield Case("scripts", "emoji of several parts", {"e.txt": f"{prose(1)[0]} {family} yes.".encode()}, contains=(family,), kept=1)
    yield Case("scripts", "chinese too short", {"z.txt": "早晨好。".encode()}, rejected={"too_short": 1}, kept=0, min_words=40)
    yield Case("scripts", "chinese long enough", {"z.txt": (SCRIPTS["chinese"] * 2).encode()}, kept=1, min_words=40)
    yield Case("scripts", "thai long enough", {"t.txt": (SCRIPTS["thai"] * 3).encode()}, kept=1, min_words=40)
    odd = "one\ftwo\vthree\u2028four\u2029five six\u200bseven eight\u00adnine ten\u00a0eleven. A last line of words stands here."
    yield Case(
        "scripts", "odd characters", {"o.txt": odd.encode()}, kept=1, contains=("six seven eightnine ten eleven",),
        also=lambda result: result.texts[0].replace("\n", " ").split()[:5] == ["one", "two", "three", "four", "five"],
    )  # fmt: skip


def encodings() -> Iterator[Case]:
    """One file each, as Notepad, old editors and other countries save it."""
    french = "L’été dernier, la fenêtre était ouverte ; on entendait “la mer” où le garçon jouait déjà près du château. " * 3
    polish = "Żółw poszedł do lasu, żeby znaleźć świeże źródło i ugasić pragnienie. Wrócił późnym wieczorem, zmęczony. " * 3
    hebrew = "בבוקר יצא הזקן אל השוק וקנה לחם חם. הילדים רצו אחריו ושרו שיר ישן. "
    tests = [
        (french, "utf-8-sig"), (french, "utf-16"), (french, "utf-16-le"), (french, "utf-16-be"), (french, "cp1252"), (polish, "cp1250"),
        (polish, "iso8859_2"), (SCRIPTS["russian"] * 3, "cp1251"), (SCRIPTS["russian"] * 3, "koi8_r"),
        (SCRIPTS["russian"] * 3, "utf-16-le"),
        (SCRIPTS["japanese"] * 3, "shift_jis"), (SCRIPTS["japanese"] * 3, "euc_jp"), (SCRIPTS["chinese"] * 3, "gb18030"),
        (hebrew * 3, "cp1255"), (SCRIPTS["japanese"] * 3, "iso2022_jp"),
        (SCRIPTS["persian"] * 3, "utf-16-le"), (SCRIPTS["chinese"] * 3, "utf-16-be"), 
        (SCRIPTS["korean"] * 3, "cp949"), (SCRIPTS["greek"] * 3, "cp1253"),
        (_UKRAINIAN * 3, "cp1251"), (_UKRAINIAN * 3, "koi8_u"), (SCRIPTS["russian"] * 3, "iso8859_5"), (SCRIPTS["russian"] * 3, "cp866"),
        (SCRIPTS["arabic"] * 3, "iso8859_6"), (SCRIPTS["arabic"] * 3, "cp1256"), (SCRIPTS["thai"] * 3, "cp874"), (_TURKISH * 3, "cp1254"),
        (_LITHUANIAN * 3, "cp1257"), (SCRIPTS["russian"] * 3, "mac_cyrillic"), (SCRIPTS["russian"] * 3, "cp855"),
        (polish, "cp852"), (polish, "mac_latin2"), (_TURKISH * 3, "cp857"), (SCRIPTS["greek"] * 3, "cp737"),
        (SCRIPTS["greek"] * 3, "mac_greek"), (hebrew * 3, "cp862"), (_ICELANDIC * 3, "cp1252"), (_HUNGARIAN * 3, "cp1250"),
    ]  # fmt: skip
    for text, codec in tests:
        yield Case("encodings", f"{codec} {text[:5]}", {"e.txt": text.encode(codec)}, text=text, kept=1)
    latin = french.replace("’", "'").replace("“", '"').replace("”", '"')
    yield Case("encodings", "latin-1", {"e.txt": latin.encode("latin-1")}, text=latin, kept=1)
    yield Case("encodings", "said by the user", {"e.txt": polish.encode("cp1250")}, text=polish, kept=1, reading={"encoding": "cp1250"})
    yield Case("encodings", "binary", {"b.txt": bytes(range(256)) * 9, "g.txt": french.encode()}, kept=1, rejected={"unreadable": 1})
    broken = "Ночь была тихая и тёплая. " * 40
    data = broken.encode()
    yield Case("encodings", "one broken byte", {"b.txt": data[:100] + b"\xff" + data[100:]}, kept=0, rejected={"unreadable": 1})


def structure() -> Iterator[Case]:
    """Paragraphs and sections as a reader sees them."""
    parts = [paragraph for number in range(40, 44) for paragraph in prose(number)]
    whole = " ".join(parts)
    yield Case("structure", "wrapped at 72", {"w.txt": "\n\n".join(fill(part, 72) for part in parts).encode()}, text=whole, paragraphs=12)
    yield Case("structure", "wrapped at 45", {"w.txt": "\n\n".join(fill(part, 45) for part in parts).encode()}, text=whole, paragraphs=12)
    yield Case("structure", "wrapped at 100", {"w.txt": "\n\n".join(fill(part, 100) for part in parts).encode()}, text=whole, paragraphs=12)
    yield Case("structure", "a paragraph a line", {"p.txt": "\n".join(parts).encode()}, text=whole, paragraphs=12)
    indented = "\n".join(fill(part, 70, initial_indent="    ") for part in parts)
    yield Case("structure", "by indent only", {"i.txt": indented.encode()}, text=whole, paragraphs=12)
    hanging = "\n".join(fill(part, 70, subsequent_indent="    ") for part in parts)
    yield Case("structure", "by hanging indent only", {"i.txt": hanging.encode()}, text=whole, paragraphs=12)
    pages = "\f".join(f"THE HARBOUR      {number}\n\n{fill(part, 70)}" for number, part in enumerate(parts, start=1))
    yield Case("structure", "pages with running heads", {"p.txt": pages.encode()}, text=whole, absent=("HARBOUR",))
    doubled = "\n\n".join(fill(part, 70) for part in parts).replace("\n\n", "\n").replace("\n", "\n\n")
    yield Case("structure", "an empty line behind each line", {"d.txt": doubled.encode()}, text=whole, paragraphs=12)
    doubled_ends = "\n\n".join(fill(part, 70) for part in parts).replace("\n", "\r\r\n")
    yield Case("structure", "line ends written twice", {"e.txt": doubled_ends.encode()}, text=whole, paragraphs=12)
    quoted = "\n>\n".join(f"> {line}" for line in "\n".join(fill(part, 70) for part in parts).split("\n"))
    yield Case("structure", "quoted as a whole", {"q.txt": quoted.encode()}, text=whole, absent=(">",))
    contents = "Contents\n\nOne ........ 3\nTwo . . . . . . 9\n\n"
    yield Case("structure", "a table of contents", {"c.txt": (contents + "\n\n".join(parts)).encode()}, text=f"Contents {whole}")
    titled = "\n\n".join(f"{number}. The {name} of it\n\n" + "\n\n".join(prose(350 + number, 40)) for number, name in
                         enumerate(("sea", "fog", "mill", "end"), start=1))  # fmt: skip
    yield Case(
        "structure", "numbered titles", {"n.txt": titled.encode()},
        also=lambda result: any("4 headings" in note for note in result.notes),
    )  # fmt: skip
    head = "From: ann@example.org\nTo: bob@example.org\nSubject: x\nDate: Thu, 04 Mar 2021 10:00:00 +0000\n\n"
    yield Case("structure", "a message named as text", {"m.txt": (head + "\n\n".join(parts)).encode()}, text=whole, date="2021-03-04")
    chinese = "\n".join("\u3000\u3000" + SCRIPTS["chinese"] for _ in range(3))
    yield Case("structure", "by ideographic indent", {"i.txt": chinese.encode()}, paragraphs=3)
    yield from _headed()
    verse = "Over the hill\nA lantern swings\nAnd somebody sings\nOf harbour things"
    mixed = f"{fill(parts[0], 70)}\n\n{verse}\n\n{fill(parts[1], 70)}"
    yield Case("structure", "verse between prose", {"v.txt": mixed.encode()}, contains=(verse,), paragraphs=3)
    hyphens = (
        "The harbour was quiet and the old cap-\ntain of the ferry sat on a barrel, look-\ning at a well-\nknown sail in the well-known "
        "bay, and\nnobody there said a word to any of them."
    )
    yield Case("structure", "words cut at line ends", {"h.txt": hyphens.encode()}, contains=("captain", "looking", "a well-known sail"))
    chapters = "\n\n".join(f"CHAPTER {number}\n\n" + "\n\n".join(prose(number, 36)) for number in range(1, 13))
    yield Case(
        "structure", "a book with headings", {"b.txt": chapters.encode()}, absent=("CHAPTER",),
        also=lambda result: len(result.texts) >= 12 and any("headings" in note for note in result.notes),
    )  # fmt: skip
    plain = "\n\n".join(paragraph for number in range(1, 30) for paragraph in prose(number))
    yield Case(
        "structure", "a book without headings", {"b.txt": plain.encode()}, also=lambda result: _sections(result, "ends of paragraphs")
    )
    line = " ".join(paragraph for number in range(1, 60) for paragraph in prose(number))
    yield Case("structure", "a book in one line", {"b.txt": line.encode()}, also=lambda result: _sections(result, "sections"))


def _headed() -> Iterator[Case]:
    """Books in one file whose chapters the file itself calls so; a title is part of the text, a number is not."""
    titles = ("The harbour", "Seven lanterns", "Chapter Three", "Snow")
    bodies = [prose(300 + number, 40) for number in range(4)]

    def told(result: Result) -> bool:
        begun = [next((text for text in result.texts if text.startswith(title)), None) for title in titles if title != "Chapter Three"]
        return all(begun) and len(result.texts) >= 4 and any("4 headings" in note for note in result.notes)

    page = "".join(f"<h2>{title}</h2>" + "".join(f"<p>{part}</p>" for part in body) for title, body in zip(titles, bodies, strict=True))
    note = "\n\n".join(f"## {title}\n\n" + "\n\n".join(body) for title, body in zip(titles, bodies, strict=True))
    for name, text in (("book.html", page), ("book.md", note)):
        yield Case("structure", f"chapters of {name}", {name: text.encode()}, absent=("Chapter Three",), also=told)
    loud = "\n\n".join(f"{title.upper()}\n\n" + "\n\n".join(body) for title, body in zip(titles[:2] + titles[3:], bodies, strict=False))
    yield Case(
        "structure", "headings in capitals", {"b.txt": loud.encode()},
        also=lambda result: any(text.startswith("SEVEN LANTERNS\n\n") for text in result.texts),
    )  # fmt: skip
    short = "".join(f"<h3>Day {number}</h3><p>{prose(340 + number)[0]}</p>" for number in range(12))
    yield Case(
        "structure", "short sections are joined", {"b.html": short.encode()}, kept=6, min_words=60,
        also=lambda result: "\n\nDay 3\n\n" in "".join(result.texts),
    )  # fmt: skip


def _sections(result: Result, said: str) -> bool:
    lengths = [len(text.split()) for text in result.texts]
    return len(lengths) > 3 and max(lengths) <= 800 and any(said in note for note in result.notes)


def boilerplate() -> Iterator[Case]:
    """What publishers and sites put around a text."""
    parts = prose(77)
    text = "\n\n".join(fill(part, 70) for part in parts)
    old = (
        "The Project Gutenberg Etext of A Tale\n\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n\n"
        f"{text}\n\nEnd of the Project Gutenberg Etext of A Tale\n"
    )
    new = (
        "The Project Gutenberg eBook of A Tale\n\nThis ebook is for the use of anyone anywhere.\n\n"
        "*** START OF THE PROJECT GUTENBERG EBOOK A TALE ***\n\n"
        f"Produced by A. Volunteer and the Online Distributed Proofreading Team\n\n{text}\n\n"
        "*** END OF THE PROJECT GUTENBERG EBOOK A TALE ***\n\nUpdated editions.\n"
    )
    middle = new.replace("*** START OF THE PROJECT", "***START OF THIS PROJECT").replace("*** END OF THE", "***END OF THIS")
    for name, frame in (("old frame", old), ("new frame", new), ("frame of 2005", middle)):
        yield Case("boilerplate", name, {"g.txt": frame.encode()}, text=" ".join(parts), paragraphs=3)
    footer = "If you enjoyed this piece please subscribe to my newsletter and tell your friends about it."
    posts = {
        f"{n}.txt": f"Home | About | Archive\n\n{chr(10).join(prose(n))}\n\n{footer}\n\nPosted on March {n}\n".encode() for n in range(12)
    }
    yield Case("boilerplate", "header and footer of every post", posts, kept=12, absent=("subscribe", "Archive", "Posted"))
    some = {f"{n}.txt": f"{chr(10).join(prose(n))}\n\n{footer if n < 3 else ''}\n".encode() for n in range(12)}
    yield Case("boilerplate", "footer of a few posts stays", some, kept=12, contains=("subscribe",))
    copies = {f"{n}.txt": "\n\n".join(prose(n % 4)).encode() for n in range(12)}
    yield Case("boilerplate", "copies", copies, kept=4, rejected={"duplicate": 8})
